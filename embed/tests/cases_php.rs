//! Every case of the list, in PHP; and its package's own tests.

mod cases;

cases::case_tests!("PHP");
