//! Every case of the list, in Python.

mod cases;

cases::case_tests!("Python");
