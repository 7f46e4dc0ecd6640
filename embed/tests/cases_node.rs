//! Every case of the list, in Node.

mod cases;

cases::case_tests!("Node");
