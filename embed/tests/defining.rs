//! What can be said of workers and hives before they run, and what is refused.

mod alone;

use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

use workhive_embed::boundary::wh_last_error;
use workhive_embed::codes::{
    WH_ERR_ADDRESS, WH_ERR_HANDLE, WH_ERR_NULL, WH_ERR_OPTION, WH_ERR_SCHEME, WH_ERR_STATE,
    WH_ERR_UTF8, WH_ERR_VALUE, WH_OK, wh_result,
};
use workhive_embed::conn::wh_conn;
use workhive_embed::hive::{wh_hive_add, wh_hive_free, wh_hive_new};
use workhive_embed::listen::wh_listen;
use workhive_embed::options::{
    WH_COUNT, WH_HEADER_TIMEOUT, WH_MAX_MESSAGE, WH_NAME, WH_NICE, WH_ONE_PROCESS,
    WH_PING_INTERVAL, WH_REUSE_PORT, WH_SHARED, WH_UMASK,
};
use workhive_embed::protocol::wh_protocol_register;
use workhive_embed::worker::{
    wh_on_connect, wh_on_message, wh_on_request, wh_on_worker_start, wh_worker_free, wh_worker_new,
    wh_worker_set_int, wh_worker_set_text,
};

use alone::alone;

fn worker(address: &[u8]) -> Result<u64, wh_result> {
    let mut made = 0;
    // SAFETY: so many bytes are there, and room for a handle.
    match unsafe { wh_worker_new(address.as_ptr().cast(), address.len(), &raw mut made) } {
        WH_OK => Ok(made),
        code => Err(code),
    }
}

fn hive(name: &str) -> Result<u64, wh_result> {
    let mut made = 0;
    // SAFETY: as above.
    match unsafe { wh_hive_new(name.as_ptr().cast(), name.len(), &raw mut made) } {
        WH_OK => Ok(made),
        code => Err(code),
    }
}

fn set_text(worker: u64, option: u32, text: &str) -> wh_result {
    // SAFETY: so many bytes are there.
    unsafe { wh_worker_set_text(worker, option, text.as_ptr().cast(), text.len()) }
}

fn last_error() -> String {
    // SAFETY: it ends in a zero byte, and nothing is called meanwhile.
    let text = unsafe { CStr::from_ptr(wh_last_error(std::ptr::null_mut())) };
    text.to_string_lossy().into_owned()
}

static DESTROYED: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn destroyed(_user: *mut c_void) {
    DESTROYED.fetch_add(1, Ordering::Relaxed);
}

fn destroyed_since() -> usize {
    DESTROYED.swap(0, Ordering::Relaxed)
}

unsafe extern "C" fn on_conn(_user: *mut c_void, _conn: wh_conn) -> i32 {
    0
}

unsafe extern "C" fn on_process(_user: *mut c_void) -> i32 {
    0
}

unsafe extern "C" fn on_message(
    _user: *mut c_void,
    _conn: wh_conn,
    _data: *const u8,
    _len: usize,
    _is_text: i32,
) -> i32 {
    0
}

unsafe extern "C" fn on_request(
    _user: *mut c_void,
    _conn: wh_conn,
    _request: *const workhive_embed::request::wh_request,
) -> i32 {
    0
}

unsafe extern "C" fn input(_user: *mut c_void, _data: *const u8, len: usize) -> i64 {
    len.try_into().unwrap_or(0)
}

#[test]
fn addresses_name_a_protocol_and_a_place() {
    alone(|| {
        for address in [
            "text://127.0.0.1:0",
            "frame://[::1]:8080",
            "http://localhost:80",
            "ws://0.0.0.0:1234",
            "websocket://unix:/tmp/a.sock",
            "tcp://unix:///tmp/a.sock",
            "unix:/tmp/a.sock",
            "unix:///tmp/a.sock",
            "127.0.0.1:9000",
            "",
        ] {
            let made = worker(address.as_bytes()).expect(address);
            assert_eq!(wh_worker_free(made), WH_OK);
        }
        assert_eq!(worker(b"gopher://127.0.0.1:70"), Err(WH_ERR_SCHEME));
        assert!(
            last_error().contains("\"gopher://\" is no scheme"),
            "{}",
            last_error()
        );
        for address in [
            "text://",
            "text://127.0.0.1",
            "http://:80",
            "text://1.2.3.4:65536",
            "unix:",
        ] {
            assert_eq!(worker(address.as_bytes()), Err(WH_ERR_ADDRESS), "{address}");
        }
        assert_eq!(worker(b"text://\xff:1"), Err(WH_ERR_UTF8));
    });
}

#[test]
fn options_have_ranges_and_belong_to_protocols() {
    alone(|| {
        let text = worker(b"text://127.0.0.1:0").expect("a worker");
        for (option, least, most) in [
            (WH_COUNT, 1, 1024),
            (WH_REUSE_PORT, 0, 1),
            (WH_NICE, -20, 19),
            (WH_UMASK, 0, 0o777),
            (WH_MAX_MESSAGE, 0, i64::MAX),
        ] {
            assert_eq!(wh_worker_set_int(text, option, least), WH_OK, "{option}");
            assert_eq!(wh_worker_set_int(text, option, most), WH_OK, "{option}");
            assert_eq!(
                wh_worker_set_int(text, option, least - 1),
                WH_ERR_VALUE,
                "{option}"
            );
            if let Some(more) = most.checked_add(1) {
                assert_eq!(
                    wh_worker_set_int(text, option, more),
                    WH_ERR_VALUE,
                    "{option}"
                );
            }
        }
        assert_eq!(wh_worker_set_int(text, WH_COUNT, 0), WH_ERR_VALUE);
        assert_eq!(last_error(), "WH_COUNT is 1 to 1024, not 0");
        for option in [
            0,
            WH_NAME,
            99,
            u32::MAX,
            WH_HEADER_TIMEOUT,
            WH_PING_INTERVAL,
        ] {
            assert_eq!(
                wh_worker_set_int(text, option, 1),
                WH_ERR_OPTION,
                "{option}"
            );
        }
        assert_eq!(set_text(text, WH_NAME, "lines"), WH_OK);
        assert_eq!(set_text(text, WH_COUNT, "1"), WH_ERR_OPTION);
        let tcp = worker(b"tcp://127.0.0.1:0").expect("a worker");
        assert_eq!(wh_worker_set_int(tcp, WH_MAX_MESSAGE, 1), WH_ERR_OPTION);
        assert_eq!(last_error(), "WH_MAX_MESSAGE is no option of tcp");
    });
}

#[test]
fn a_function_that_is_replaced_refused_or_freed_is_destroyed_once() {
    alone(|| {
        let user = std::ptr::null_mut();
        let text = worker(b"text://127.0.0.1:0").expect("a worker");
        // SAFETY: functions of this shape, without anything to carry.
        unsafe {
            assert_eq!(
                wh_on_connect(text, Some(on_conn), user, Some(destroyed)),
                WH_OK
            );
            assert_eq!(destroyed_since(), 0);
            assert_eq!(
                wh_on_connect(text, Some(on_conn), user, Some(destroyed)),
                WH_OK
            );
            assert_eq!(destroyed_since(), 1, "the one before");
            assert_eq!(
                wh_on_connect(text, None, user, Some(destroyed)),
                WH_ERR_NULL
            );
            assert_eq!(destroyed_since(), 1, "the refused one");
            assert_eq!(
                wh_on_request(text, Some(on_request), user, Some(destroyed)),
                WH_ERR_OPTION
            );
            assert_eq!(destroyed_since(), 1, "not for this protocol");
            assert_eq!(
                wh_on_message(text, Some(on_message), user, Some(destroyed)),
                WH_OK
            );
            assert_eq!(
                wh_on_message(text + 1, Some(on_message), user, Some(destroyed)),
                WH_ERR_HANDLE
            );
            assert_eq!(destroyed_since(), 1, "a wrong handle");
        }
        let hive = hive("defining").expect("a hive");
        assert_eq!(wh_hive_add(hive, text), WH_OK);
        assert_eq!(destroyed_since(), 0, "the hive has them");
        assert_eq!(
            wh_worker_free(text),
            WH_ERR_HANDLE,
            "it has been taken over"
        );
        assert_eq!(wh_hive_free(hive), WH_OK);
        assert_eq!(destroyed_since(), 2, "on_connect and on_message");
    });
}

#[test]
fn a_worker_that_makes_no_sense_stays_with_its_owner() {
    alone(|| {
        let hive = hive("defining").expect("a hive");
        let text = worker(b"text://127.0.0.1:0").expect("a worker");
        assert_eq!(set_text(text, WH_NAME, "a=b"), WH_OK);
        assert_eq!(wh_hive_add(hive, text), WH_ERR_VALUE);
        assert!(
            last_error().contains("\"a=b\" does not do"),
            "{}",
            last_error()
        );
        assert_eq!(set_text(text, WH_NAME, "ab"), WH_OK);
        assert_eq!(wh_worker_set_int(text, WH_SHARED, 1), WH_OK);
        assert_eq!(
            wh_hive_add(hive, text),
            WH_ERR_OPTION,
            "shared is for wh_listen"
        );
        assert_eq!(wh_worker_free(text), WH_OK);
        assert_eq!(wh_hive_free(hive), WH_OK);
        for name in ["", "a/b", "a\nb"] {
            assert_eq!(self::hive(name), Err(WH_ERR_VALUE), "{name:?}");
        }
    });
}

#[test]
fn a_listener_inside_a_process_needs_a_loop_a_place_and_nothing_of_groups() {
    alone(|| {
        let nowhere = worker(b"").expect("a worker");
        assert_eq!(wh_listen(nowhere), WH_ERR_ADDRESS);
        let text = worker(b"text://127.0.0.1:0").expect("a worker");
        assert_eq!(wh_listen(text), WH_ERR_STATE, "there is no loop");
        let user = std::ptr::null_mut();
        // SAFETY: a function of this shape, without anything to carry.
        let set = unsafe { wh_on_worker_start(text, Some(on_process), user, None) };
        assert_eq!(set, WH_OK);
        assert_eq!(wh_listen(text), WH_ERR_OPTION);
        assert_eq!(set_text(nowhere, WH_ONE_PROCESS, "why"), WH_OK);
        assert_eq!(wh_worker_free(nowhere), WH_OK);
        assert_eq!(wh_worker_free(text), WH_OK, "it was not taken over");
    });
}

#[test]
fn protocols_of_ones_own_have_names_that_are_schemes() {
    alone(|| {
        let register = |name: &str| {
            let user = std::ptr::null_mut();
            // SAFETY: so many bytes are there, and a function of this shape.
            unsafe {
                wh_protocol_register(
                    name.as_ptr().cast(),
                    name.len(),
                    Some(input),
                    None,
                    None,
                    user,
                    Some(destroyed),
                )
            }
        };
        for name in [
            "",
            "http",
            "ws",
            "unix",
            "Big",
            "1st",
            "a_b",
            "a:b",
            &"a".repeat(33),
        ] {
            assert_eq!(register(name), WH_ERR_VALUE, "{name:?}");
            assert_eq!(destroyed_since(), 1, "{name:?}");
        }
        assert_eq!(worker(b"json.v1+x://127.0.0.1:0"), Err(WH_ERR_SCHEME));
        assert_eq!(register("json.v1+x"), WH_OK);
        assert_eq!(destroyed_since(), 0);
        let first = worker(b"json.v1+x://127.0.0.1:0").expect("it is known now");
        assert_eq!(register("json.v1+x"), WH_OK);
        assert_eq!(destroyed_since(), 0, "the worker still has the one before");
        assert_eq!(wh_worker_free(first), WH_OK);
        assert_eq!(destroyed_since(), 1);
    });
}
