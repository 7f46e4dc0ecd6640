//! The name by which programs ask for the library: it changes only with an ABI that old programs cannot use.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libworkhive.so.1");
}
