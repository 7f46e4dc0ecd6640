//! Whatever a caller gets wrong is answered with a code: every function, one by one.

use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use workhive_embed::codes::{WH_ERR_HANDLE, WH_ERR_THREAD, WH_OK, wh_result};
use workhive_embed::{
    blocking, callback, conn, hive, listen, log, mailbox, members, opening, presence, protocol,
    push, request, response, room, run, stats, steer, timer, topic, worker,
};

/// Calls, with what is wrong about them.
struct With {
    pointer: *mut c_void,
    len: usize,
    handle: u64,
}

/// The thread of the first call is the loop's, for the whole process: one test at a time, on a thread of its own that
/// takes all with it.
fn alone(test: impl FnOnce() + Send + 'static) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(panic) = thread::spawn(test).join() {
        std::panic::resume_unwind(panic);
    }
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

#[expect(
    clippy::too_many_lines,
    reason = "one line or two for each function of the header"
)]
fn every(with: &With) -> Vec<Refused> {
    let counter = AtomicUsize::new(0);
    let user = std::ptr::from_ref(&counter).cast_mut().cast::<c_void>();
    let mut all = Vec::new();
    let mut note = |name, given, code| {
        let destroyed = counter.swap(0, Ordering::Relaxed);
        all.push(Refused {
            name,
            code,
            destroyed,
            given,
        });
    };
    macro_rules! call {
        ($module:ident, $name:ident, $given:literal, $($argument:expr),*) => {
            // SAFETY: the pointers are NULL or lead to a page of memory; every length that is longer is to be refused.
            note(stringify!($name), $given, unsafe { $module::$name($($argument),*) });
        };
    }
    macro_rules! plain {
        ($module:ident, $name:ident, $($argument:expr),*) => {
            note(stringify!($name), 0, $module::$name($($argument),*));
        };
    }
    call!(callback, wh_fail_text, 0, with.pointer.cast(), with.len);
    call!(
        worker,
        wh_worker_new,
        0,
        with.pointer.cast(),
        with.len,
        with.pointer.cast()
    );
    plain!(worker, wh_worker_free, with.handle);
    plain!(worker, wh_worker_set_int, with.handle, 0, 0);
    call!(
        worker,
        wh_worker_set_text,
        0,
        with.handle,
        0,
        with.pointer.cast(),
        with.len
    );
    call!(
        worker,
        wh_on_worker_start,
        1,
        with.handle,
        None,
        user,
        Some(destroyed)
    );
    call!(
        worker,
        wh_on_worker_stop,
        1,
        with.handle,
        None,
        user,
        Some(destroyed)
    );
    call!(
        worker,
        wh_on_worker_reload,
        1,
        with.handle,
        None,
        user,
        Some(destroyed)
    );
    call!(
        worker,
        wh_on_uid_online,
        1,
        with.handle,
        None,
        user,
        Some(destroyed)
    );
    call!(
        worker,
        wh_on_uid_offline,
        1,
        with.handle,
        None,
        user,
        Some(destroyed)
    );
    call!(
        worker,
        wh_on_connect,
        1,
        with.handle,
        None,
        user,
        Some(destroyed)
    );
    call!(
        worker,
        wh_on_message,
        1,
        with.handle,
        None,
        user,
        Some(destroyed)
    );
    call!(
        worker,
        wh_on_request,
        1,
        with.handle,
        None,
        user,
        Some(destroyed)
    );
    call!(
        worker,
        wh_on_close,
        1,
        with.handle,
        None,
        user,
        Some(destroyed)
    );
    call!(
        worker,
        wh_on_error,
        1,
        with.handle,
        None,
        user,
        Some(destroyed)
    );
    call!(
        worker,
        wh_on_buffer_full,
        1,
        with.handle,
        None,
        user,
        Some(destroyed)
    );
    call!(
        worker,
        wh_on_buffer_drain,
        1,
        with.handle,
        None,
        user,
        Some(destroyed)
    );
    call!(
        worker,
        wh_on_goodbye,
        1,
        with.handle,
        None,
        user,
        Some(destroyed)
    );
    call!(
        worker,
        wh_on_websocket_connect,
        1,
        with.handle,
        None,
        user,
        Some(destroyed)
    );
    call!(
        worker,
        wh_on_websocket_connected,
        1,
        with.handle,
        None,
        user,
        Some(destroyed)
    );
    call!(
        hive,
        wh_hive_new,
        0,
        with.pointer.cast(),
        with.len,
        with.pointer.cast()
    );
    plain!(hive, wh_hive_free, with.handle);
    plain!(hive, wh_hive_set_int, with.handle, 0, 0);
    call!(
        hive,
        wh_hive_set_text,
        0,
        with.handle,
        0,
        with.pointer.cast(),
        with.len
    );
    call!(
        hive,
        wh_hive_fork_with,
        1,
        with.handle,
        None,
        user,
        Some(destroyed)
    );
    call!(
        hive,
        wh_hive_log_with,
        1,
        with.handle,
        None,
        user,
        Some(destroyed)
    );
    plain!(hive, wh_hive_add, with.handle, with.handle);
    call!(
        protocol,
        wh_protocol_register,
        1,
        with.pointer.cast(),
        with.len,
        None,
        None,
        None,
        user,
        Some(destroyed)
    );
    call!(
        protocol,
        wh_sink_write,
        0,
        with.pointer.cast(),
        with.pointer.cast(),
        with.len
    );
    call!(
        run,
        wh_hive_start,
        0,
        with.handle,
        0,
        with.pointer.cast(),
        with.pointer.cast(),
        with.pointer.cast()
    );
    call!(run, wh_loop, 0, with.handle, with.pointer.cast());
    call!(
        run,
        wh_worker_attach,
        0,
        with.handle,
        with.pointer.cast(),
        with.pointer.cast()
    );
    call!(
        run,
        wh_run,
        0,
        with.handle,
        0,
        with.pointer.cast(),
        with.pointer.cast()
    );
    call!(run, wh_poll_fd, 0, with.handle, with.pointer.cast());
    call!(run, wh_run_once, 0, with.handle, 0, with.pointer.cast());
    call!(run, wh_finish, 0, with.handle, with.pointer.cast());
    call!(stats, wh_place_of, 0, with.handle, with.pointer.cast());
    call!(
        stats,
        wh_stats_of,
        0,
        with.handle,
        with.pointer.cast(),
        with.len
    );
    call!(
        steer,
        wh_ready,
        0,
        with.handle,
        with.pointer.cast(),
        with.len
    );
    plain!(steer, wh_signal, with.handle, 0);
    plain!(steer, wh_stop, with.handle);
    plain!(steer, wh_stop_all, with.handle);
    plain!(steer, wh_reload_all, with.handle);
    call!(blocking, wh_blocking, 1, None, None, user, Some(destroyed));
    plain!(listen, wh_listen, with.handle);
    call!(listen, wh_unlisten, 0, with.pointer.cast(), with.len);
    call!(listen, wh_pause_accept, 0, with.pointer.cast(), with.len);
    call!(listen, wh_resume_accept, 0, with.pointer.cast(), with.len);
    call!(log, wh_log, 0, 0, with.pointer.cast(), with.len);
    call!(mailbox, wh_mailbox_new, 0, with.pointer.cast());
    call!(
        mailbox,
        wh_mailbox_post,
        1,
        with.handle,
        None,
        user,
        Some(destroyed)
    );
    plain!(mailbox, wh_mailbox_free, with.handle);
    call!(
        timer,
        wh_timer_after,
        1,
        0,
        None,
        user,
        Some(destroyed),
        with.pointer.cast()
    );
    call!(
        timer,
        wh_timer_every,
        1,
        0,
        None,
        user,
        Some(destroyed),
        with.pointer.cast()
    );
    plain!(timer, wh_timer_cancel, with.handle);
    call!(
        conn,
        wh_conn_send,
        0,
        with.handle,
        0,
        with.pointer.cast(),
        with.len
    );
    plain!(conn, wh_conn_close, with.handle);
    call!(
        conn,
        wh_conn_close_with,
        0,
        with.handle,
        1000,
        with.pointer.cast(),
        with.len
    );
    plain!(conn, wh_conn_end, with.handle);
    plain!(conn, wh_conn_destroy, with.handle);
    plain!(conn, wh_conn_pause, with.handle);
    plain!(conn, wh_conn_resume, with.handle);
    plain!(conn, wh_conn_hold, with.handle);
    plain!(conn, wh_conn_release, with.handle);
    call!(
        conn,
        wh_conn_fail,
        0,
        with.handle,
        with.pointer.cast(),
        with.len
    );
    plain!(conn, wh_conn_pipe, with.handle, with.handle);
    call!(conn, wh_conn_is_open, 0, with.handle, with.pointer.cast());
    call!(conn, wh_conn_protocol, 0, with.handle, with.pointer.cast());
    call!(
        conn,
        wh_conn_remote_addr,
        0,
        with.handle,
        with.pointer.cast()
    );
    call!(
        conn,
        wh_conn_local_addr,
        0,
        with.handle,
        with.pointer.cast()
    );
    call!(conn, wh_conn_id, 0, with.handle, with.pointer.cast());
    call!(
        conn,
        wh_conn_send_queue,
        0,
        with.handle,
        with.pointer.cast()
    );
    call!(
        conn,
        wh_conn_stats_of,
        0,
        with.handle,
        with.pointer.cast(),
        with.len
    );
    call!(
        conn,
        wh_conn_set_data,
        1,
        with.handle,
        user,
        Some(destroyed)
    );
    call!(conn, wh_conn_data, 0, with.handle, with.pointer.cast());
    call!(
        request,
        wh_request_read,
        0,
        with.pointer.cast(),
        with.pointer.cast(),
        with.len
    );
    call!(
        request,
        wh_request_header,
        0,
        with.pointer.cast(),
        with.pointer.cast(),
        with.len,
        with.pointer.cast()
    );
    call!(
        request,
        wh_request_headers,
        0,
        with.pointer.cast(),
        with.pointer.cast()
    );
    call!(
        response,
        wh_conn_respond,
        0,
        with.handle,
        1000,
        with.pointer.cast(),
        with.len,
        with.pointer.cast(),
        with.len
    );
    call!(
        response,
        wh_conn_respond_stream,
        0,
        with.handle,
        1000,
        with.pointer.cast(),
        with.len
    );
    call!(
        response,
        wh_conn_chunk,
        0,
        with.handle,
        with.pointer.cast(),
        with.len,
        0
    );
    call!(
        opening,
        wh_opening_read,
        0,
        with.pointer.cast(),
        with.pointer.cast(),
        with.len
    );
    call!(
        opening,
        wh_opening_header,
        0,
        with.pointer.cast(),
        with.pointer.cast(),
        with.len,
        with.pointer.cast()
    );
    call!(
        opening,
        wh_opening_headers,
        0,
        with.pointer.cast(),
        with.pointer.cast()
    );
    call!(
        opening,
        wh_opening_refuse,
        0,
        with.pointer.cast(),
        1000,
        with.pointer.cast(),
        with.len
    );
    call!(
        opening,
        wh_opening_subprotocol,
        0,
        with.pointer.cast(),
        with.pointer.cast(),
        with.len
    );
    call!(
        opening,
        wh_opening_add_header,
        0,
        with.pointer.cast(),
        with.pointer.cast(),
        with.len,
        with.pointer.cast(),
        with.len
    );
    call!(
        room,
        wh_conn_bind_uid,
        1,
        with.handle,
        with.pointer.cast(),
        with.len,
        None,
        user,
        Some(destroyed)
    );
    call!(
        room,
        wh_conn_claim_uid,
        0,
        with.handle,
        with.pointer.cast(),
        with.len
    );
    call!(
        room,
        wh_conn_unbind_uid,
        0,
        with.handle,
        with.pointer.cast(),
        with.len
    );
    call!(room, wh_conn_uid, 0, with.handle, with.pointer.cast());
    call!(
        room,
        wh_conn_uids,
        0,
        with.handle,
        with.pointer.cast(),
        with.pointer.cast()
    );
    call!(
        room,
        wh_conn_join_room,
        1,
        with.handle,
        with.pointer.cast(),
        with.len,
        None,
        user,
        Some(destroyed)
    );
    call!(
        room,
        wh_conn_leave_room,
        0,
        with.handle,
        with.pointer.cast(),
        with.len
    );
    call!(
        room,
        wh_conn_rooms,
        0,
        with.handle,
        with.pointer.cast(),
        with.pointer.cast()
    );
    call!(
        room,
        wh_conn_set_session,
        0,
        with.handle,
        with.pointer.cast(),
        with.len
    );
    call!(room, wh_conn_session, 0, with.handle, with.pointer.cast());
    call!(
        members,
        wh_members_of_uid,
        1,
        with.pointer.cast(),
        with.len,
        with.pointer.cast(),
        with.len,
        None,
        user,
        Some(destroyed)
    );
    call!(
        members,
        wh_members_of_room,
        1,
        with.pointer.cast(),
        with.len,
        with.pointer.cast(),
        with.len,
        None,
        user,
        Some(destroyed)
    );
    call!(
        members,
        wh_members_of_all,
        1,
        with.pointer.cast(),
        with.len,
        None,
        user,
        Some(destroyed)
    );
    call!(
        members,
        wh_session_of,
        1,
        with.pointer.cast(),
        with.len,
        None,
        user,
        Some(destroyed)
    );
    call!(
        presence,
        wh_is_uid_online,
        1,
        with.pointer.cast(),
        with.len,
        None,
        user,
        Some(destroyed)
    );
    call!(
        presence,
        wh_room_size,
        1,
        with.pointer.cast(),
        with.len,
        None,
        user,
        Some(destroyed)
    );
    call!(presence, wh_online_count, 1, None, user, Some(destroyed));
    call!(presence, wh_totals_of_hive, 1, None, user, Some(destroyed));
    call!(presence, wh_uids, 1, 0, None, user, Some(destroyed));
    call!(presence, wh_rooms, 1, 0, None, user, Some(destroyed));
    call!(
        push,
        wh_send_to_uid,
        1,
        with.pointer.cast(),
        with.len,
        0,
        with.pointer.cast(),
        with.len,
        with.pointer.cast(),
        with.len,
        None,
        user,
        Some(destroyed)
    );
    call!(
        push,
        wh_send_to_uids,
        1,
        with.pointer.cast(),
        with.len,
        0,
        with.pointer.cast(),
        with.len,
        with.pointer.cast(),
        with.len,
        None,
        user,
        Some(destroyed)
    );
    call!(
        push,
        wh_send_to_room,
        1,
        with.pointer.cast(),
        with.len,
        0,
        with.pointer.cast(),
        with.len,
        with.pointer.cast(),
        with.len,
        None,
        user,
        Some(destroyed)
    );
    call!(
        push,
        wh_send_to_rooms,
        1,
        with.pointer.cast(),
        with.len,
        0,
        with.pointer.cast(),
        with.len,
        with.pointer.cast(),
        with.len,
        None,
        user,
        Some(destroyed)
    );
    call!(
        push,
        wh_send_to_all,
        1,
        0,
        with.pointer.cast(),
        with.len,
        with.pointer.cast(),
        with.len,
        None,
        user,
        Some(destroyed)
    );
    call!(
        push,
        wh_send_to_connection,
        1,
        with.pointer.cast(),
        with.len,
        0,
        with.pointer.cast(),
        with.len,
        None,
        user,
        Some(destroyed)
    );
    call!(
        push,
        wh_close_uid,
        0,
        with.pointer.cast(),
        with.len,
        1000,
        with.pointer.cast(),
        with.len
    );
    call!(
        push,
        wh_close_connection,
        0,
        with.pointer.cast(),
        with.len,
        1000,
        with.pointer.cast(),
        with.len
    );
    call!(
        push,
        wh_close_room,
        0,
        with.pointer.cast(),
        with.len,
        1000,
        with.pointer.cast(),
        with.len
    );
    call!(
        push,
        wh_join_uid,
        0,
        with.pointer.cast(),
        with.len,
        with.pointer.cast(),
        with.len
    );
    call!(
        push,
        wh_leave_uid,
        0,
        with.pointer.cast(),
        with.len,
        with.pointer.cast(),
        with.len
    );
    call!(
        push,
        wh_join_connection,
        0,
        with.pointer.cast(),
        with.len,
        with.pointer.cast(),
        with.len
    );
    call!(
        push,
        wh_leave_connection,
        0,
        with.pointer.cast(),
        with.len,
        with.pointer.cast(),
        with.len
    );
    call!(push, wh_dismiss_room, 0, with.pointer.cast(), with.len);
    call!(
        topic,
        wh_subscribe,
        1,
        with.pointer.cast(),
        with.len,
        None,
        user,
        Some(destroyed)
    );
    call!(topic, wh_unsubscribe, 0, with.pointer.cast(), with.len);
    call!(
        topic,
        wh_publish,
        0,
        with.pointer.cast(),
        with.len,
        0,
        with.pointer.cast(),
        with.len
    );
    all
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
        for len in [usize::MAX, usize::MAX / 2 + 1, usize::MAX - 4095, 1 << 62, 1 << 48] {
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
