//! Calls of the interface, with handles of a small pool: live ones, freed ones, and numbers that never were one.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_void};

use workhive_embed::boundary::wh_last_error;
use workhive_embed::bytes::wh_bytes;
use workhive_embed::codes::{WH_ERR_PANIC, WH_OK, wh_result, wh_result_name};
use workhive_embed::conn::wh_conn;
use workhive_embed::opening::wh_opening;
use workhive_embed::request::{wh_request, wh_request_view};
use workhive_embed::{
    blocking, callback, conn, hive, listen, log, mailbox, members, opening, presence, protocol,
    push, request, response, room, run, stats, steer, timer, topic, worker,
};

use crate::arguments::{byte, bytes, list, number, value};
use crate::callbacks as on;
use crate::users::{destroy, staying_user, user};

#[derive(Default)]
struct Pool {
    workers: Vec<u64>,
    hives: Vec<u64>,
    timers: Vec<u64>,
    mailboxes: Vec<u64>,
    conns: Vec<u64>,
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
    /// The last request and the last opening that were lent.
    static LENT: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// A result is a code of the header, and an error has a text.
pub fn check(code: wh_result) -> wh_result {
    // SAFETY: static, and it ends in a zero byte.
    let name = unsafe { CStr::from_ptr(wh_result_name(code)) };
    assert_ne!(name, c"unknown", "{code}");
    if code >= 100 {
        let mut len = 0;
        // SAFETY: there is room for a length, and the text ends in a zero byte.
        let text = unsafe { CStr::from_ptr(wh_last_error(&raw mut len)) };
        let text = text.to_str().expect("UTF-8");
        assert_eq!(text.len(), len);
        assert!(!text.is_empty(), "{name:?}");
        assert_ne!(code, WH_ERR_PANIC, "{text}");
    }
    code
}

fn keep(which: impl FnOnce(&mut Pool) -> &mut Vec<u64>, code: wh_result, handle: u64) {
    if check(code) == WH_OK {
        POOL.with_borrow_mut(|pool| which(pool).push(handle));
    }
}

/// A connection that a callback was called for.
pub fn seen(conn: wh_conn) {
    POOL.with_borrow_mut(|pool| {
        if !pool.conns.contains(&conn) {
            pool.conns.push(conn);
            if pool.conns.len() > 16 {
                pool.conns.remove(0);
            }
        }
    });
}

pub fn lent(request: usize, opening: usize) {
    LENT.set((request, opening));
}

fn pick(which: impl FnOnce(&Pool) -> &Vec<u64>) -> u64 {
    let kind = byte();
    POOL.with_borrow(|pool| {
        let all = which(pool);
        match kind {
            0..=239 if !all.is_empty() => all[usize::from(kind) % all.len()],
            0..=239 => 0,
            240..=245 => pool.workers.first().copied().unwrap_or(1),
            246..=250 => pool.conns.first().copied().unwrap_or(2),
            _ => number(),
        }
    })
}

fn a_worker() -> u64 {
    pick(|pool| &pool.workers)
}

fn a_hive() -> u64 {
    pick(|pool| &pool.hives)
}

fn a_conn() -> u64 {
    pick(|pool| &pool.conns)
}

/// What a function with callbacks is given last.
fn carried() -> (*mut c_void, callback::wh_destroy_fn) {
    (user(), Some(destroy))
}

/// A function, now and then none.
fn some<F>(function: F) -> Option<F> {
    (byte() != 255).then_some(function)
}

pub fn new_worker(address: &[u8]) -> u64 {
    let mut made = 0;
    // SAFETY: so many bytes are there.
    let code =
        unsafe { worker::wh_worker_new(address.as_ptr().cast(), address.len(), &raw mut made) };
    keep(|pool| &mut pool.workers, code, made);
    made
}

pub fn new_hive() -> u64 {
    let mut made = 0;
    // SAFETY: so many bytes are there.
    let code = unsafe { hive::wh_hive_new(c"fuzz".as_ptr(), 4, &raw mut made) };
    keep(|pool| &mut pool.hives, code, made);
    made
}

pub fn register() {
    let (name, len) = if byte() < 200 {
        (b"own".as_ptr(), 3)
    } else {
        bytes()
    };
    // SAFETY: arguments as `arguments` makes them; functions of the right shape.
    check(unsafe {
        protocol::wh_protocol_register(
            name.cast(),
            len,
            some(on::input),
            some(on::code),
            some(on::code),
            staying_user(),
            Some(destroy),
        )
    });
}

/// Sets one of a worker's functions.
pub fn listen_to(to: u64) {
    let (user, gone) = carried();
    // SAFETY: functions of the right shape.
    check(unsafe {
        match byte() % 15 {
            0 => worker::wh_on_worker_start(to, some(on::process), user, gone),
            1 => worker::wh_on_worker_stop(to, some(on::process), user, gone),
            2 => worker::wh_on_worker_reload(to, some(on::process), user, gone),
            3 => worker::wh_on_uid_online(to, some(on::uid), user, gone),
            4 => worker::wh_on_uid_offline(to, some(on::uid), user, gone),
            5 => worker::wh_on_connect(to, some(on::conn), user, gone),
            6 | 7 => worker::wh_on_message(to, some(on::message), user, gone),
            8 => worker::wh_on_request(to, some(on::request), user, gone),
            9 => worker::wh_on_close(to, some(on::close), user, gone),
            10 => worker::wh_on_error(to, some(on::error), user, gone),
            11 => worker::wh_on_buffer_full(to, some(on::conn), user, gone),
            12 => worker::wh_on_buffer_drain(to, some(on::conn), user, gone),
            13 => worker::wh_on_websocket_connect(to, some(on::opening), user, gone),
            _ => worker::wh_on_websocket_connected(to, some(on::conn), user, gone),
        }
    });
}

pub fn set_option(of: u64) {
    check(worker::wh_worker_set_int(
        of,
        u32::from(byte() % 40),
        value(),
    ));
}

/// Everything that can be asked of a request, or of what is none.
pub fn look_at_request(lent: *const wh_request) {
    let (name, len) = bytes();
    let mut view = std::mem::MaybeUninit::<wh_request_view>::zeroed();
    let mut found = wh_bytes {
        data: std::ptr::null(),
        len: 0,
    };
    // SAFETY: there is room for the results; `lent` is only compared.
    unsafe {
        check(request::wh_request_read(
            lent,
            view.as_mut_ptr(),
            size_of::<wh_request_view>(),
        ));
        check(request::wh_request_header(
            lent,
            name.cast(),
            len,
            &raw mut found,
        ));
        check(request::wh_request_headers(lent, &raw mut found));
    }
}

pub fn look_at_opening(lent: *mut wh_opening) {
    let ((name, len), (value, value_len)) = (bytes(), bytes());
    let mut view = std::mem::MaybeUninit::<wh_request_view>::zeroed();
    let mut found = wh_bytes {
        data: std::ptr::null(),
        len: 0,
    };
    // SAFETY: as above.
    unsafe {
        check(opening::wh_opening_read(
            lent,
            view.as_mut_ptr(),
            size_of::<wh_request_view>(),
        ));
        check(opening::wh_opening_header(
            lent,
            name.cast(),
            len,
            &raw mut found,
        ));
        check(opening::wh_opening_headers(lent, &raw mut found));
        match byte() {
            0 => check(opening::wh_opening_refuse(lent, 403, name.cast(), len)),
            1 => check(opening::wh_opening_subprotocol(lent, name.cast(), len)),
            2 => check(opening::wh_opening_add_header(
                lent,
                name.cast(),
                len,
                value.cast(),
                value_len,
            )),
            _ => 0,
        };
    }
}

/// Frees what is left, and what is freed already.
pub fn free_all() {
    let pool = POOL.take();
    for hive in pool.hives {
        check(hive::wh_hive_free(hive));
    }
    for worker in pool.workers {
        check(worker::wh_worker_free(worker));
    }
    for mailbox in pool.mailboxes {
        check(mailbox::wh_mailbox_free(mailbox));
    }
    // What the functions that were destroyed have made in turn.
    let left = POOL.with_borrow(|pool| {
        !pool.hives.is_empty() || !pool.workers.is_empty() || !pool.mailboxes.is_empty()
    });
    if left {
        free_all();
    }
}

/// Any call, with anything.
pub fn any() {
    match byte() % 4 {
        0 => defining(),
        1 => of_conn(),
        2 => of_hive(),
        _ => in_worker(),
    }
}

fn defining() {
    let (data, len) = bytes();
    let mut made = 0;
    // SAFETY: arguments as `arguments` makes them, and room for the results.
    unsafe {
        match byte() % 14 {
            0 => {
                let code = worker::wh_worker_new(data.cast(), len, &raw mut made);
                keep(|pool| &mut pool.workers, code, made);
            }
            1 => {
                let code = hive::wh_hive_new(data.cast(), len, &raw mut made);
                keep(|pool| &mut pool.hives, code, made);
            }
            2 => drop(check(worker::wh_worker_free(a_worker()))),
            3 => drop(check(hive::wh_hive_free(a_hive()))),
            4 => set_option(a_worker()),
            5 => {
                let option = 99 + u32::from(byte() % 8);
                check(worker::wh_worker_set_text(
                    a_worker(),
                    option,
                    data.cast(),
                    len,
                ));
            }
            6 | 7 => listen_to(a_worker()),
            8 => drop(check(hive::wh_hive_add(a_hive(), a_worker()))),
            9 => drop(check(hive::wh_hive_set_int(
                a_hive(),
                u32::from(byte() % 5),
                value(),
            ))),
            10 => drop(check(hive::wh_hive_set_text(
                a_hive(),
                100,
                data.cast(),
                len,
            ))),
            11 => {
                let (user, gone) = carried();
                check(hive::wh_hive_fork_with(
                    a_hive(),
                    some(on::fork),
                    user,
                    gone,
                ));
            }
            12 => {
                let (user, gone) = carried();
                check(hive::wh_hive_log_with(a_hive(), some(on::log), user, gone));
            }
            _ => register(),
        }
    }
}

fn of_conn() {
    let conn = a_conn();
    let ((data, len), (more, more_len)) = (bytes(), bytes());
    let mut found = wh_bytes {
        data: std::ptr::null(),
        len: 0,
    };
    let (mut many, mut count) = (std::ptr::null(), 0usize);
    let mut number = 0u64;
    let mut flag = 0i32;
    let mut pointer = std::ptr::null_mut();
    let mut stats = conn::wh_conn_stats::default();
    // SAFETY: as above.
    unsafe {
        check(match byte() % 36 {
            0..=4 => conn::wh_conn_send(conn, i32::from(byte() % 3), data, len),
            5..=7 => response::wh_conn_respond(
                conn,
                100 + 2 * u16::from(byte()),
                more.cast(),
                more_len,
                data,
                len,
            ),
            8 => response::wh_conn_respond_stream(conn, 200, more.cast(), more_len),
            9 => response::wh_conn_chunk(conn, data, len, i32::from(byte() % 2)),
            10 => conn::wh_conn_close(conn),
            11 => conn::wh_conn_close_with(conn, 1000 + 16 * u16::from(byte()), data.cast(), len),
            12 => conn::wh_conn_end(conn),
            13 => conn::wh_conn_destroy(conn),
            14 => conn::wh_conn_fail(conn, data.cast(), len),
            15 => conn::wh_conn_pause(conn),
            16 | 17 => conn::wh_conn_resume(conn),
            18 => conn::wh_conn_hold(conn),
            19 => conn::wh_conn_release(conn),
            20 => conn::wh_conn_pipe(conn, a_conn()),
            21 => conn::wh_conn_is_open(conn, &raw mut flag),
            22 => conn::wh_conn_protocol(conn, &raw mut found),
            23 => conn::wh_conn_remote_addr(conn, &raw mut found),
            24 => conn::wh_conn_local_addr(conn, &raw mut found),
            25 => conn::wh_conn_id(conn, &raw mut found),
            26 => conn::wh_conn_send_queue(conn, &raw mut number),
            27 => conn::wh_conn_stats_of(
                conn,
                &raw mut stats,
                size_of_val(&stats).min(usize::from(byte())),
            ),
            28 => conn::wh_conn_set_data(conn, user(), Some(destroy)),
            29 => conn::wh_conn_data(conn, &raw mut pointer),
            30 => {
                let (user, gone) = carried();
                room::wh_conn_bind_uid(conn, data, len, some(on::done), user, gone)
            }
            31 => room::wh_conn_claim_uid(conn, data, len),
            32 => room::wh_conn_unbind_uid(conn, data, len),
            33 => {
                let (user, gone) = carried();
                room::wh_conn_join_room(conn, data, len, some(on::done), user, gone)
            }
            34 => room::wh_conn_leave_room(conn, data, len),
            _ => match byte() % 5 {
                0 => room::wh_conn_uid(conn, &raw mut found),
                1 => room::wh_conn_uids(conn, &raw mut many, &raw mut count),
                2 => room::wh_conn_rooms(conn, &raw mut many, &raw mut count),
                3 => room::wh_conn_set_session(conn, data, len),
                _ => room::wh_conn_session(conn, &raw mut found),
            },
        });
    }
}

fn of_hive() {
    let kind = i32::from(byte() % 3);
    let ((name, name_len), (data, len)) = (bytes(), bytes());
    let ((names, names_len), (except, except_len)) = (
        list(),
        if byte() < 32 {
            list()
        } else {
            (std::ptr::null(), 0)
        },
    );
    let which = byte() % 25;
    let (user, gone) = if which < 17 {
        carried()
    } else {
        (std::ptr::null_mut(), None)
    };
    // SAFETY: as above.
    unsafe {
        check(match which {
            0 => push::wh_send_to_uid(
                name,
                name_len,
                kind,
                data,
                len,
                except,
                except_len,
                some(on::outcome),
                user,
                gone,
            ),
            1 => push::wh_send_to_uids(
                names,
                names_len,
                kind,
                data,
                len,
                except,
                except_len,
                some(on::outcome),
                user,
                gone,
            ),
            2 => push::wh_send_to_room(
                name,
                name_len,
                kind,
                data,
                len,
                except,
                except_len,
                some(on::outcome),
                user,
                gone,
            ),
            3 => push::wh_send_to_rooms(
                names,
                names_len,
                kind,
                data,
                len,
                except,
                except_len,
                some(on::outcome),
                user,
                gone,
            ),
            4 => push::wh_send_to_all(
                kind,
                data,
                len,
                except,
                except_len,
                some(on::outcome),
                user,
                gone,
            ),
            5 => push::wh_send_to_connection(
                name.cast(),
                name_len,
                kind,
                data,
                len,
                some(on::outcome),
                user,
                gone,
            ),
            6 => presence::wh_is_uid_online(name, name_len, some(on::presence), user, gone),
            7 => presence::wh_room_size(name, name_len, some(on::count), user, gone),
            8 => presence::wh_online_count(some(on::count), user, gone),
            9 => presence::wh_uids(value(), some(on::names), user, gone),
            10 => presence::wh_rooms(value(), some(on::names), user, gone),
            11 => presence::wh_totals_of_hive(some(on::totals), user, gone),
            12 => members::wh_members_of_uid(
                name,
                name_len,
                data.cast(),
                len,
                some(on::members),
                user,
                gone,
            ),
            13 => members::wh_members_of_room(
                name,
                name_len,
                std::ptr::null(),
                0,
                some(on::members),
                user,
                gone,
            ),
            14 => members::wh_members_of_all(std::ptr::null(), 0, some(on::members), user, gone),
            15 => members::wh_session_of(name.cast(), name_len, some(on::session), user, gone),
            16 => topic::wh_subscribe(name, name_len, some(on::topic), user, gone),
            17 => topic::wh_unsubscribe(name, name_len),
            18 => topic::wh_publish(name, name_len, kind, data, len),
            19 => push::wh_close_uid(name, name_len, 4000, data.cast(), len),
            20 => push::wh_close_connection(name.cast(), name_len, 1000, data.cast(), len),
            21 => push::wh_close_room(name, name_len, 999 + u16::from(byte()), data.cast(), len),
            22 => push::wh_join_uid(name, name_len, data, len),
            23 => push::wh_dismiss_room(name, name_len),
            _ => push::wh_join_connection(name.cast(), name_len, data, len),
        });
    }
}

fn in_worker() {
    let (data, len) = bytes();
    let (mut made, mut flag, mut code, mut fd) = (0, 0, 0, 0);
    // SAFETY: as above.
    unsafe {
        match byte() % 22 {
            0 | 1 => {
                let (user, gone) = carried();
                let ms = u64::from(byte() % 4);
                let code = timer::wh_timer_after(ms, some(on::process), user, gone, &raw mut made);
                keep(|pool| &mut pool.timers, code, made);
            }
            2 => {
                let (user, gone) = carried();
                let ms = u64::from(byte() % 4);
                let code = timer::wh_timer_every(ms, some(on::process), user, gone, &raw mut made);
                keep(|pool| &mut pool.timers, code, made);
            }
            3 => drop(check(timer::wh_timer_cancel(pick(|pool| &pool.timers)))),
            4 => {
                let code = mailbox::wh_mailbox_new(&raw mut made);
                keep(|pool| &mut pool.mailboxes, code, made);
            }
            5 => {
                let (user, gone) = carried();
                let to = pick(|pool| &pool.mailboxes);
                check(mailbox::wh_mailbox_post(to, some(on::process), user, gone));
            }
            6 => drop(check(mailbox::wh_mailbox_free(pick(|pool| {
                &pool.mailboxes
            })))),
            7 if byte() < 16 => {
                let then = some(on::process as unsafe extern "C" fn(*mut c_void) -> i32);
                check(blocking::wh_blocking(
                    some(on::work),
                    then,
                    staying_user(),
                    Some(destroy),
                ));
            }
            8 => drop(check(listen::wh_listen(a_worker()))),
            9 => drop(check(listen::wh_unlisten(data.cast(), len))),
            10 => drop(check(listen::wh_pause_accept(data.cast(), len))),
            11 => drop(check(listen::wh_resume_accept(data.cast(), len))),
            12 => drop(check(log::wh_log(u32::from(byte() % 7), data.cast(), len))),
            13 => drop(check(run::wh_run_once(a_hive(), 0, &raw mut flag))),
            14 => drop(check(run::wh_poll_fd(a_hive(), &raw mut fd))),
            15 if byte() < 16 => drop(check(run::wh_finish(a_hive(), &raw mut code))),
            16 => drop(check(run::wh_worker_attach(
                a_hive(),
                &raw mut flag,
                &raw mut code,
            ))),
            17 => drop(check(steer::wh_ready(a_hive(), data.cast(), len))),
            18 if byte() < 32 => drop(check(steer::wh_signal(a_hive(), i32::from(byte() % 32)))),
            19 if byte() < 16 => drop(check(steer::wh_stop(a_hive()))),
            20 => {
                let mut all = stats::wh_stats::default();
                check(stats::wh_stats_of(
                    a_hive(),
                    &raw mut all,
                    size_of_val(&all),
                ));
            }
            _ => {
                // Lent long ago, or now, or never.
                let (request, opening) = LENT.get();
                look_at_request(std::ptr::without_provenance(
                    request + 8 * usize::from(byte() % 3),
                ));
                look_at_opening(std::ptr::without_provenance_mut(opening));
            }
        }
    }
}
