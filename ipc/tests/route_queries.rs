//! What can be asked and heard from any process, on a virtual network.

mod net;

use std::time::Duration;

use net::hive::{A, B, C, ask, bind, delivered, hive, join, message};
use net::{Got, Net, process};
use workhive_ipc::route::{AgentError, Answer, Member, Query, Scope, Table, Target};

#[test]
fn a_uid_that_comes_back_within_the_linger_time_has_never_been_away() {
    let mut net = hive();
    net.agent(C).watch(true);
    net.settle();
    let news = |net: &mut Net| {
        let got = net.take();
        let news = got.into_iter().filter_map(|(process, got)| match got {
            Got::Presence(uid, online) => {
                assert_eq!(process, Some(C));
                Some((uid, online))
            }
            _ => None,
        });
        news.collect::<Vec<_>>()
    };
    bind(&mut net, A, 1, b"u");
    bind(&mut net, B, 2, b"u");
    net.settle();
    assert_eq!(news(&mut net), [(b"u".to_vec(), true)]);
    net.agent(A).close(1);
    net.agent(B).close(2);
    net.settle();
    net.advance(Duration::from_millis(1900));
    bind(&mut net, B, 3, b"u");
    net.settle();
    net.advance(Duration::from_secs(10));
    assert_eq!(news(&mut net), []);
    // Away for good, with its worker.
    net.crash(B);
    net.settle();
    assert_eq!(news(&mut net), []);
    net.advance(Duration::from_secs(2));
    net.settle();
    assert_eq!(news(&mut net), [(b"u".to_vec(), false)]);
    bind(&mut net, A, 4, b"u");
    net.settle();
    assert_eq!(news(&mut net), [(b"u".to_vec(), true)]);
    // What was online before a router died is no news to the next.
    net.crash_router();
    net.start_router();
    net.settle();
    assert_eq!(news(&mut net), []);
    net.agent(C).watch(false);
    bind(&mut net, A, 5, b"v");
    net.settle();
    assert_eq!(news(&mut net), []);
}

#[test]
fn listings_come_in_pages_from_all_owners() {
    let mut net = hive();
    for (process, keys) in [(A, 0..5), (B, 10..15), (C, 20..25)] {
        for key in keys {
            bind(&mut net, process, key, format!("u{key}").as_bytes());
            net.agent(process).join(key, b"r").unwrap();
        }
    }
    net.settle();
    net.take();
    for scope in [Scope::Room(b"r"), Scope::All] {
        let (mut all, mut after): (Vec<Member>, _) = (Vec::new(), None);
        loop {
            let query = Query::Members {
                scope,
                after,
                limit: 4,
            };
            let Answer::Members {
                members,
                more,
                partial: false,
            } = ask(&mut net, B, query)
            else {
                panic!("not the answer");
            };
            assert!(members.len() == 4 || !more);
            after = members.last().map(|member| member.id);
            all.extend(members);
            if !more {
                break;
            }
        }
        let ids: Vec<u64> = all.iter().map(|member| member.id.sequence()).collect();
        assert_eq!(ids, [0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 20, 21, 22, 23, 24]);
        assert_eq!(all[7].uids, [b"u12".to_vec()]);
        assert!(all.is_sorted_by_key(|member| member.id));
        let count = ask(&mut net, C, Query::Count(scope));
        assert_eq!(
            count,
            Answer::Count {
                connections: 15,
                partial: false
            }
        );
    }
    let (mut names, mut from) = (0, Some(0));
    while let Some(next) = from {
        let query = Query::Names {
            table: Table::Uids,
            from: next,
            limit: 7,
        };
        let Answer::Names {
            names: page, next, ..
        } = ask(&mut net, A, query)
        else {
            panic!("not the answer");
        };
        names += page.len();
        from = next;
    }
    assert_eq!(names, 15);
    let totals = ask(&mut net, A, Query::Totals);
    assert_eq!(
        totals,
        Answer::Totals {
            uids: 15,
            rooms: 1,
            topics: 0,
            processes: 3,
            partial: false
        }
    );
}

#[test]
fn an_owner_that_sleeps_or_dies_makes_a_listing_partial_and_does_not_hold_it_up() {
    let mut net = hive();
    for (process, key) in [(A, 1), (B, 2)] {
        join(&mut net, process, key, b"r");
    }
    net.settle();
    net.take();
    let partial = |connections| Answer::Count {
        connections,
        partial: true,
    };
    let answers = |net: &mut Net| {
        let got = net.take();
        let answers = got.into_iter().filter_map(|(_, got)| match got {
            Got::Answer(_, answer) => answer,
            _ => None,
        });
        answers.collect::<Vec<_>>()
    };
    let now = net.now;
    net.stall(A, true);
    net.agent(C)
        .query(Query::Count(Scope::Room(b"r")), now)
        .unwrap();
    net.settle();
    net.advance(Duration::from_secs(1));
    net.settle();
    assert_eq!(answers(&mut net), [partial(1)]);
    let now = net.now;
    net.agent(C)
        .query(Query::Count(Scope::Room(b"r")), now)
        .unwrap();
    net.settle();
    assert_eq!(answers(&mut net), []);
    net.crash(A);
    net.settle();
    assert_eq!(answers(&mut net), [partial(1)]);
}

#[test]
fn session_data_can_be_read_from_any_process() {
    let mut net = hive();
    net.agent(A).open(1);
    net.agent(A).set_session(1, b"name=ada").unwrap();
    net.agent(A).open(2);
    net.settle();
    let session = |data: Option<&[u8]>| Answer::Session {
        data: data.map(<[u8]>::to_vec),
        partial: false,
    };
    let read = |net: &mut Net, id| ask(net, B, Query::Session(id));
    assert_eq!(read(&mut net, A.connection(1)), session(Some(b"name=ada")));
    assert_eq!(read(&mut net, A.connection(2)), session(Some(b"")));
    assert_eq!(read(&mut net, A.connection(3)), session(None));
    assert_eq!(read(&mut net, process(0, 9).connection(1)), session(None));
    let long = net.agent(A).set_session(1, &vec![0; 65_537]);
    assert_eq!(long, Err(AgentError::TooLong));
}

#[test]
fn topics_reach_every_subscribed_process_and_no_other() {
    let mut net = hive();
    net.start_client();
    net.agent(A).subscribe(b"t").unwrap();
    net.agent(B).subscribe(b"t").unwrap();
    net.client().subscribe(b"t").unwrap();
    net.settle();
    net.take();
    let now = net.now;
    net.agent(A).publish(b"t", 1, b"m", now).unwrap();
    net.settle();
    let topic = |process| (process, Got::Topic(b"t".to_vec(), 1, b"m".to_vec()));
    let mut got = net.take();
    got.sort_by_key(|(process, _)| *process);
    assert_eq!(got, [topic(None), topic(Some(A)), topic(Some(B))]);
    // After a router restart too.
    net.crash_router();
    net.start_router();
    net.settle();
    net.agent(B).unsubscribe(b"t");
    net.take();
    let now = net.now;
    net.agent(B).publish(b"t", 1, b"m", now).unwrap();
    net.settle();
    let mut got = net.take();
    got.retain(|(_, got)| matches!(got, Got::Topic(..)));
    got.sort_by_key(|(process, _)| *process);
    assert_eq!(got, [topic(None), topic(Some(A))]);
}

#[test]
fn a_client_pushes_and_asks_but_has_no_connections() {
    let mut net = hive();
    net.start_client();
    bind(&mut net, A, 1, b"u");
    net.settle();
    net.take();
    let now = net.now;
    let push = message(Target::Uid(b"u"), b"m").with_outcome();
    net.client().push(push, now).unwrap();
    net.client().query(Query::Online(vec![b"u"]), now).unwrap();
    net.settle();
    let got = net.take();
    assert!(got.iter().any(|(who, got)| who.is_none()
        && matches!(got, Got::Outcome(_, outcome) if *outcome == delivered(1))));
    assert!(got.iter().any(|(who, got)| who.is_none()
        && matches!(got, Got::Answer(_, Some(Answer::Online { online, .. })) if online == &[true])));
    net.client().open(1);
    let bound = net.client().bind(1, b"u", false);
    assert_eq!(bound, Err(AgentError::NotAWorker));
}
