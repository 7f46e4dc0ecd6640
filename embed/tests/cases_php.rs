//! Every case of the list, in PHP.

mod cases;

cases::case_tests!("PHP");
