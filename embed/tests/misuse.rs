//! Whatever a caller gets wrong is answered with a code: every function, one by one.

mod alone;

use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use workhive_embed::codes::{WH_ERR_HANDLE, WH_ERR_THREAD, WH_OK, wh_result};
use workhive_embed::{
    blocking, callback, conn, hive, listen, log, mailbox, members, opening, presence, protocol,
    push, request, response, room, run, stats, steer, timer, topic, worker,
};

use alone::alone;

/// Calls, with what is wrong about them.
struct With {
    pointer: *mut c_void,
    len: usize,
    handle: u64,
}

unsafe extern "C" fn destroyed(user: *mut c_void) {
    // SAFETY: `every` gives it a counter, which outlives the call.
    unsafe { user.cast::<AtomicUsize>().as_ref() }
        .expect("what it was given")
        .fetch_add(1, Ordering::Relaxed);
}

/// How often a call that was refused has destroyed what it was given.
struct Refused {
    name: &'static str,
    code: wh_result,
    destroyed: usize,
    /// 1 if it was given something to destroy.
    given: usize,
}

/// An argument of the table below.
macro_rules! argument {
    (p $with:ident $user:ident) => {
        $with.pointer.cast()
    };
    (n $with:ident $user:ident) => {
        $with.len
    };
    (h $with:ident $user:ident) => {
        $with.handle
    };
    (f $with:ident $user:ident) => {
        None
    };
    (u $with:ident $user:ident) => {
        $user
    };
    (d $with:ident $user:ident) => {
        Some(destroyed)
    };
    ($number:literal $with:ident $user:ident) => {
        $number
    };
}

/// Calls every function: `p` is a pointer, `n` a length, `h` a handle, `f` a function that is NULL, `u` and `d` are what is to
/// be destroyed and by what.
macro_rules! every {
    ($($module:ident $name:ident($($argument:tt),*);)*) => {
        fn every(with: &With) -> Vec<Refused> {
            let counter = AtomicUsize::new(0);
            let user = std::ptr::from_ref(&counter).cast_mut().cast::<c_void>();
            let mut all = Vec::new();
            let mut note = |name, arguments: &[&str], code| {
                let destroyed = counter.swap(0, Ordering::Relaxed);
                let given = usize::from(arguments.contains(&"d"));
                all.push(Refused { name, code, destroyed, given });
            };
            // SAFETY: the pointers are NULL or lead to a page of memory; every length that is longer is to be refused.
            unsafe {
                $(
                    let code = $module::$name($(argument!($argument with user)),*);
                    note(stringify!($name), &[$(stringify!($argument)),*], code);
                )*
            }
            all
        }
    };
}

every! {
    callback wh_fail_text(p, n);
    worker wh_worker_new(p, n, p);
    worker wh_worker_free(h);
    worker wh_worker_set_int(h, 0, 0);
    worker wh_worker_set_text(h, 0, p, n);
    worker wh_on_worker_start(h, f, u, d);
    worker wh_on_worker_stop(h, f, u, d);
    worker wh_on_worker_reload(h, f, u, d);
    worker wh_on_uid_online(h, f, u, d);
    worker wh_on_uid_offline(h, f, u, d);
    worker wh_on_connect(h, f, u, d);
    worker wh_on_message(h, f, u, d);
    worker wh_on_request(h, f, u, d);
    worker wh_on_close(h, f, u, d);
    worker wh_on_error(h, f, u, d);
    worker wh_on_buffer_full(h, f, u, d);
    worker wh_on_buffer_drain(h, f, u, d);
    worker wh_on_goodbye(h, f, u, d);
    worker wh_on_websocket_connect(h, f, u, d);
    worker wh_on_websocket_connected(h, f, u, d);
    hive wh_hive_new(p, n, p);
    hive wh_hive_free(h);
    hive wh_hive_set_int(h, 0, 0);
    hive wh_hive_set_text(h, 0, p, n);
    hive wh_hive_fork_with(h, f, u, d);
    hive wh_hive_log_with(h, f, u, d);
    hive wh_hive_add(h, h);
    protocol wh_protocol_register(p, n, f, f, f, u, d);
    protocol wh_sink_write(p, p, n);
    run wh_hive_start(h, 0, p, p, p);
    run wh_loop(h, p);
    run wh_worker_attach(h, p, p);
    run wh_run(h, 0, p, p);
    run wh_poll_fd(h, p);
    run wh_run_once(h, 0, p);
    run wh_finish(h, p);
    stats wh_place_of(h, p);
    stats wh_stats_of(h, p, n);
    steer wh_ready(h, p, n);
    steer wh_signal(h, 0);
    steer wh_stop(h);
    steer wh_stop_all(h);
    steer wh_reload_all(h);
    blocking wh_blocking(f, f, u, d);
    listen wh_listen(h);
    listen wh_unlisten(p, n);
    listen wh_pause_accept(p, n);
    listen wh_resume_accept(p, n);
    log wh_log(0, p, n);
    mailbox wh_mailbox_new(p);
    mailbox wh_mailbox_post(h, f, u, d);
    mailbox wh_mailbox_free(h);
    timer wh_timer_after(0, f, u, d, p);
    timer wh_timer_every(0, f, u, d, p);
    timer wh_timer_cancel(h);
    conn wh_conn_send(h, 0, p, n);
    conn wh_conn_close(h);
    conn wh_conn_close_with(h, 1000, p, n);
    conn wh_conn_end(h);
    conn wh_conn_destroy(h);
    conn wh_conn_pause(h);
    conn wh_conn_resume(h);
    conn wh_conn_hold(h);
    conn wh_conn_release(h);
    conn wh_conn_fail(h, p, n);
    conn wh_conn_pipe(h, h);
    conn wh_conn_is_open(h, p);
    conn wh_conn_protocol(h, p);
    conn wh_conn_remote_addr(h, p);
    conn wh_conn_local_addr(h, p);
    conn wh_conn_id(h, p);
    conn wh_conn_send_queue(h, p);
    conn wh_conn_stats_of(h, p, n);
    conn wh_conn_set_data(h, u, d);
    conn wh_conn_data(h, p);
    request wh_request_read(p, p, n);
    request wh_request_header(p, p, n, p);
    request wh_request_headers(p, p);
    response wh_conn_respond(h, 1000, p, n, p, n);
    response wh_conn_respond_stream(h, 1000, p, n);
    response wh_conn_chunk(h, p, n, 0);
    opening wh_opening_read(p, p, n);
    opening wh_opening_header(p, p, n, p);
    opening wh_opening_headers(p, p);
    opening wh_opening_refuse(p, 1000, p, n);
    opening wh_opening_subprotocol(p, p, n);
    opening wh_opening_add_header(p, p, n, p, n);
    room wh_conn_bind_uid(h, p, n, f, u, d);
    room wh_conn_claim_uid(h, p, n);
    room wh_conn_unbind_uid(h, p, n);
    room wh_conn_uid(h, p);
    room wh_conn_uids(h, p, p);
    room wh_conn_join_room(h, p, n, f, u, d);
    room wh_conn_leave_room(h, p, n);
    room wh_conn_rooms(h, p, p);
    room wh_conn_set_session(h, p, n);
    room wh_conn_session(h, p);
    members wh_members_of_uid(p, n, p, n, f, u, d);
    members wh_members_of_room(p, n, p, n, f, u, d);
    members wh_members_of_all(p, n, f, u, d);
    members wh_session_of(p, n, f, u, d);
    presence wh_is_uid_online(p, n, f, u, d);
    presence wh_room_size(p, n, f, u, d);
    presence wh_online_count(f, u, d);
    presence wh_totals_of_hive(f, u, d);
    presence wh_uids(0, f, u, d);
    presence wh_rooms(0, f, u, d);
    push wh_send_to_uid(p, n, 0, p, n, p, n, f, u, d);
    push wh_send_to_uids(p, n, 0, p, n, p, n, f, u, d);
    push wh_send_to_room(p, n, 0, p, n, p, n, f, u, d);
    push wh_send_to_rooms(p, n, 0, p, n, p, n, f, u, d);
    push wh_send_to_all(0, p, n, p, n, f, u, d);
    push wh_send_to_connection(p, n, 0, p, n, f, u, d);
    push wh_close_uid(p, n, 1000, p, n);
    push wh_close_connection(p, n, 1000, p, n);
    push wh_close_room(p, n, 1000, p, n);
    push wh_join_uid(p, n, p, n);
    push wh_leave_uid(p, n, p, n);
    push wh_join_connection(p, n, p, n);
    push wh_leave_connection(p, n, p, n);
    push wh_dismiss_room(p, n);
    topic wh_subscribe(p, n, f, u, d);
    topic wh_unsubscribe(p, n);
    topic wh_publish(p, n, 0, p, n);
}

/// Functions that any thread may call.
const ANYWHERE: [&str; 3] = ["wh_log", "wh_mailbox_post", "wh_mailbox_free"];

#[track_caller]
fn all_refused(with: &With, but: &[&str]) {
    for call in every(with) {
        if but.contains(&call.name) {
            continue;
        }
        assert!(call.code >= 100, "{} returned {}", call.name, call.code);
        assert_eq!(
            call.destroyed, call.given,
            "{} destroys what it was given, once",
            call.name
        );
    }
}

fn new_worker() -> u64 {
    let mut made = 0;
    // SAFETY: the text has this length, and there is room for a handle.
    let code = unsafe { worker::wh_worker_new(c"text://127.0.0.1:0".as_ptr(), 18, &raw mut made) };
    assert_eq!(code, WH_OK);
    made
}

fn new_hive() -> u64 {
    let mut made = 0;
    // SAFETY: as above.
    let code = unsafe { hive::wh_hive_new(c"misuse".as_ptr(), 6, &raw mut made) };
    assert_eq!(code, WH_OK);
    made
}

#[test]
fn nulls_are_refused_by_every_function() {
    alone(|| {
        for len in [0, 1, 4096] {
            let pointer = std::ptr::null_mut();
            all_refused(
                &With {
                    pointer,
                    len,
                    handle: 0,
                },
                &[],
            );
        }
    });
}

#[test]
fn lengths_that_cannot_be_are_refused_by_every_function() {
    alone(|| {
        let mut page = vec![0u8; 4096];
        for len in [
            usize::MAX,
            usize::MAX / 2 + 1,
            usize::MAX - 4095,
            1 << 62,
            1 << 48,
        ] {
            let pointer = page.as_mut_ptr().cast();
            all_refused(
                &With {
                    pointer,
                    len,
                    handle: 0,
                },
                &[],
            );
        }
        assert!(page.iter().all(|byte| *byte == 0), "nothing was written");
    });
}

#[test]
fn handles_that_were_freed_or_never_given_out_are_refused_by_every_function() {
    alone(|| {
        let (worker, hive) = (new_worker(), new_hive());
        assert_eq!(worker::wh_worker_free(worker), WH_OK);
        assert_eq!(hive::wh_hive_free(hive), WH_OK);
        assert_eq!(worker::wh_worker_free(worker), WH_ERR_HANDLE);
        assert_eq!(hive::wh_hive_free(hive), WH_ERR_HANDLE);
        let mut page = vec![0u8; 4096];
        for handle in [worker, hive, worker | 1 << 63, 1, 77 << 23, u64::MAX] {
            let pointer = page.as_mut_ptr().cast();
            // What the page says is text, and no connection is needed to ask whether there is one.
            let but = ["wh_log", "wh_worker_new", "wh_hive_new", "wh_conn_is_open"];
            all_refused(
                &With {
                    pointer,
                    len: 8,
                    handle,
                },
                &but,
            );
        }
    });
}

#[test]
fn a_handle_of_one_kind_is_none_of_another() {
    alone(|| {
        let (worker, hive) = (new_worker(), new_hive());
        let pointer = std::ptr::null_mut();
        for (handle, kinds) in [
            (worker, ["wh_worker", "wh_on"]),
            (hive, ["wh_hive", "wh_hive"]),
        ] {
            for call in every(&With {
                pointer,
                len: 0,
                handle,
            }) {
                if !kinds.iter().any(|kind| call.name.starts_with(kind)) {
                    assert!(call.code >= 100, "{} returned {}", call.name, call.code);
                }
            }
        }
        // Each has been freed by its own function, in passing.
        assert_eq!(worker::wh_worker_free(worker), WH_ERR_HANDLE);
        assert_eq!(hive::wh_hive_free(hive), WH_ERR_HANDLE);
    });
}

#[test]
fn another_thread_is_refused_by_every_function_that_belongs_to_the_loop() {
    alone(|| {
        let hive = new_hive();
        let refused = thread::spawn(move || {
            let pointer = std::ptr::null_mut();
            let calls = every(&With {
                pointer,
                len: 0,
                handle: hive,
            });
            calls
                .into_iter()
                .map(|call| (call.name, call.code, call.destroyed == call.given))
                .collect::<Vec<_>>()
        });
        for (name, code, is_destroyed) in refused.join().expect("no panic") {
            assert!(is_destroyed, "{name} destroys what it was given, once");
            if ANYWHERE.contains(&name) {
                assert_ne!(code, WH_ERR_THREAD, "{name}");
            } else {
                assert_eq!(code, WH_ERR_THREAD, "{name}");
            }
        }
        assert_eq!(
            hive::wh_hive_free(hive),
            WH_OK,
            "nothing has happened to it"
        );
    });
}

#[test]
fn when_all_is_freed_another_thread_may_begin() {
    alone(|| {
        let hive = new_hive();
        let begins = || {
            thread::spawn(|| {
                let mut made = 0;
                // SAFETY: the text has this length, and there is room for a handle.
                unsafe { hive::wh_hive_new(c"other".as_ptr(), 5, &raw mut made) }
            })
        };
        assert_eq!(begins().join().expect("no panic"), WH_ERR_THREAD);
        assert_eq!(hive::wh_hive_free(hive), WH_OK);
        assert_eq!(begins().join().expect("no panic"), WH_OK);
        // That thread has ended, and all with it.
        assert_eq!(hive::wh_hive_free(new_hive()), WH_OK);
    });
}
