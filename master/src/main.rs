//! The `workhive` binary: its programs are in [`workhive::app`].

fn main() -> workhive::Exit {
    workhive::app::main_from(std::env::args_os())
}
