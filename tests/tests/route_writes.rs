//! What is sent to a connection in one turn leaves in one write, however many messages it is.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use workhive_tests::routes::{Orders, Routes, alone_and_together};
use workhive_tests::{proc, program, tools};

/// The system calls of a process by which bytes leave it.
struct Trace {
    strace: Child,
    file: PathBuf,
}

impl Trace {
    /// None if this process may not look at that one.
    fn start(routes: &Routes, strace: &Path, pid: u32) -> Option<Self> {
        let file = routes.hive.path("trace");
        let mut strace = routes
            .hive
            .setup()
            .command(strace)
            .args([
                "-f",
                "-s",
                "100000",
                "-e",
                "trace=write,writev,sendto,sendmsg,sendmmsg",
            ])
            .arg("-o")
            .arg(&file)
            .args(["-p", &pid.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .expect("a program that can be started");
        let mut said = String::new();
        let mut stderr = BufReader::new(strace.stderr.take().expect("a pipe"));
        stderr.read_line(&mut said).expect("a pipe");
        if said.contains("attached") {
            return Some(Self { strace, file });
        }
        strace.wait().expect("a child can be waited for");
        tools::missing(&format!("nothing can be traced here: {said}"));
        None
    }

    /// The calls, one a line.
    fn stop(mut self) -> Vec<String> {
        proc::signal(self.strace.id(), Signal::SIGINT);
        self.strace.wait().expect("a child can be waited for");
        let text = fs::read_to_string(&self.file).expect("a trace");
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn ten_messages_to_many_of_one_turn_leave_in_one_write_for_each_connection() {
    let Some(strace) = tools::find("strace") else {
        return;
    };
    alone_and_together(program!("routes"), &[], |routes| {
        let mut members: Vec<_> = (0..5).map(|_| routes.guest(0, &["a"])).collect();
        let mut caller = routes.caller(1);
        let Some(trace) = Trace::start(routes, &strace, members[0].pid) else {
            return;
        };
        let orders: Vec<Value> = (0..10)
            .map(|n| json!({ "do": "send_to_room", "room": "a", "text": format!("<{n}>") }))
            .collect();
        caller.say(&json!({ "batch": orders }).to_string());
        for member in &mut members {
            for n in 0..10 {
                assert_eq!(member.text(), format!("<{n}>"));
            }
        }
        let calls = trace.stop();
        // By descriptor; what goes from process to process has the room's name beside the text.
        let mut writes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for call in calls.iter().filter(|call| call.contains("\\201\\3<")) {
            // "1234 sendto(17, "\201\3<0>..", 50, ..."
            let descriptor = call.split(['(', ',']).nth(1).expect("a call");
            writes.entry(descriptor).or_default().push(call);
        }
        assert_eq!(writes.len(), members.len(), "{calls:#?}");
        for of_one in writes.values() {
            assert_eq!(of_one.len(), 1, "{calls:#?}");
            for n in 0..10 {
                assert!(of_one[0].contains(&format!("\\201\\3<{n}>")), "{of_one:?}");
            }
        }
    });
}
