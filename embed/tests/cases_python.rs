//! Every case of the list, in Python; and its package's own tests.

mod cases;

cases::case_tests!("Python");

mod under_valgrind {
    crate::cases::case_tests!("Python", under valgrind);
}
