//! Every case of the list, in Node; and its package's own tests.

mod cases;

cases::case_tests!("Node");
