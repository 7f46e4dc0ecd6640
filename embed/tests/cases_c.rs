//! Every case of the list, in C.

mod cases;

cases::case_tests!("C");
