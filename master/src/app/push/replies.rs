//! Answers in the order of the questions.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use workhive_protocols::{Message, Protocol};
use workhive_worker::{Handle, Result, SendError};

/// With so many answers owed no more questions are read, until half of them have been given.
const MOST_OWED: usize = 1024;

/// The answers that one connection is owed. What becomes of a push is known when its owners have said so, and a line
/// that makes no sense is answered at once; none of them overtakes another.
#[derive(Debug, Clone, Default)]
pub(super) struct Replies(Rc<RefCell<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    /// The number of the first answer that has not been given.
    first: u64,
    answers: VecDeque<Option<String>>,
    /// Questions are left unread.
    paused: bool,
    /// No more questions are taken: with the last answer the connection ends.
    ends: bool,
}

/// One answer that is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owed(u64);

/// What is to be done about reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    GoesOn,
    Rests,
    Resumes,
    Ends,
}

impl Replies {
    /// A question has come, which is to be answered in its turn.
    pub(super) fn owe(&self) -> (Owed, Reading) {
        let mut queue = self.0.borrow_mut();
        queue.answers.push_back(None);
        let owed = Owed(queue.first + queue.answers.len() as u64 - 1);
        if queue.answers.len() >= MOST_OWED && !std::mem::replace(&mut queue.paused, true) {
            return (owed, Reading::Rests);
        }
        (owed, Reading::GoesOn)
    }

    /// The last question has come: what may stand behind it is not read, and once all answers are given the connection
    /// is closed.
    pub(super) fn end(&self) {
        self.0.borrow_mut().ends = true;
    }

    /// The answer to a question is known: sends it, and those behind it that have waited, unless it has to wait itself.
    /// A connection that does not take its answers is closed: it must not go on with answers to other questions.
    pub(super) fn answer<P>(&self, conn: Handle<P>, owed: Owed, answer: impl Into<String>) -> Result
    where
        P: for<'m> Protocol<Outgoing<'m> = Message<'m>>,
    {
        match self.settle(owed, answer, |answer| conn.send(answer)) {
            Ok(Reading::Resumes) => conn.resume_recv(),
            Ok(Reading::Ends) => conn.close(),
            Ok(_) => {}
            // It did not wait.
            Err(error) if error.downcast_ref() == Some(&SendError::Gone) => {}
            Err(error) => {
                conn.close();
                return Err(error);
            }
        }
        Ok(())
    }

    fn settle<E>(
        &self,
        owed: Owed,
        answer: impl Into<String>,
        mut give: impl FnMut(&str) -> std::result::Result<(), E>,
    ) -> std::result::Result<Reading, E> {
        // Given away with nothing borrowed: `give` is not ours.
        let ready = self.0.borrow_mut().settle(owed, answer.into());
        for answer in ready {
            give(&answer)?;
        }
        let mut queue = self.0.borrow_mut();
        if queue.ends {
            return Ok(if queue.answers.is_empty() {
                Reading::Ends
            } else {
                Reading::Rests
            });
        }
        if queue.paused && queue.answers.len() <= MOST_OWED / 2 {
            queue.paused = false;
            return Ok(Reading::Resumes);
        }
        Ok(Reading::GoesOn)
    }
}

impl Queue {
    fn settle(&mut self, owed: Owed, answer: String) -> Vec<String> {
        let place = owed.0.checked_sub(self.first);
        let place = place.and_then(|place| usize::try_from(place).ok());
        if let Some(slot) = place.and_then(|place| self.answers.get_mut(place)) {
            *slot = Some(answer);
        }
        let mut ready = Vec::new();
        while let Some(Some(_)) = self.answers.front() {
            ready.extend(self.answers.pop_front().flatten());
            self.first += 1;
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(replies: &Replies, owed: Owed, answer: &str) -> (Vec<String>, Reading) {
        let mut given = Vec::new();
        let reading = replies.settle(owed, answer, |answer| {
            given.push(answer.to_owned());
            Ok::<(), ()>(())
        });
        (given, reading.unwrap())
    }

    #[test]
    fn whatever_is_known_first_the_order_stays() {
        let replies = Replies::default();
        let owed: Vec<Owed> = (0..4).map(|_| replies.owe().0).collect();
        assert_eq!(settle(&replies, owed[2], "c").0, [""; 0]);
        assert_eq!(settle(&replies, owed[0], "a").0, ["a"]);
        let late = replies.owe().0;
        assert_eq!(settle(&replies, late, "e").0, [""; 0]);
        assert_eq!(settle(&replies, owed[1], "b").0, ["b", "c"]);
        assert_eq!(settle(&replies, owed[3], "d").0, ["d", "e"]);
        assert_eq!(settle(&replies, replies.owe().0, "f").0, ["f"]);
    }

    #[test]
    fn an_answer_is_given_once() {
        let replies = Replies::default();
        let owed = replies.owe().0;
        assert_eq!(settle(&replies, owed, "a").0, ["a"]);
        assert_eq!(settle(&replies, owed, "again").0, [""; 0]);
    }

    #[test]
    fn one_who_asks_and_asks_has_to_wait() {
        let replies = Replies::default();
        let mut owed = VecDeque::new();
        for number in 1..=MOST_OWED {
            let (next, reading) = replies.owe();
            owed.push_back(next);
            let rests = number == MOST_OWED;
            assert_eq!(reading == Reading::Rests, rests, "{number}");
        }
        // What was read already still comes.
        owed.push_back(replies.owe().0);
        for left in (0..=MOST_OWED).rev() {
            let (_, reading) = settle(&replies, owed.pop_front().unwrap(), "ok");
            let resumes = left == MOST_OWED / 2;
            assert_eq!(reading == Reading::Resumes, resumes, "{left}");
        }
    }
    #[test]
    fn the_end_comes_with_the_last_answer() {
        let replies = Replies::default();
        let owed: Vec<Owed> = (0..MOST_OWED).map(|_| replies.owe().0).collect();
        replies.end();
        for (number, owed) in owed[1..].iter().enumerate() {
            assert_eq!(settle(&replies, *owed, "ok").1, Reading::Rests, "{number}");
        }
        assert_eq!(settle(&replies, owed[0], "ok").1, Reading::Ends);
    }
}
