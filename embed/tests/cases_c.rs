//! Every case of the list, in C; its examples, and the interface itself.

mod c;
mod cases;

cases::case_tests!("C");

mod under_valgrind {
    crate::cases::case_tests!("C", under valgrind);
}
