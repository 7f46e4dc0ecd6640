//! Things that are waited for, each with a deadline.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::route::directory::MemberId;

/// Things that are waited for, all equally long. A number is never given twice.
#[derive(Debug)]
pub(crate) struct Awaited<T> {
    wait: Duration,
    places: Vec<Place<T>>,
    free: Vec<u32>,
    live: usize,
    /// In the order of their deadlines; some may be gone already.
    queue: VecDeque<(Instant, u64)>,
}

#[derive(Debug)]
struct Place<T> {
    /// How often the place has been given out. The high half of the number; never 0.
    round: u32,
    value: Option<T>,
}

/// Dead entries that the queue may have beyond the number of live ones, before it is cleaned.
const SLACK: usize = 1024;

impl<T> Awaited<T> {
    pub(crate) fn new(wait: Duration) -> Self {
        Self {
            wait,
            places: Vec::new(),
            free: Vec::new(),
            live: 0,
            queue: VecDeque::new(),
        }
    }

    /// Begins to wait. The number is not 0.
    pub(crate) fn insert(&mut self, value: T, now: Instant) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place {
                round: 0,
                value: None,
            });
            u32::try_from(self.places.len() - 1).expect("fewer than 2^32 are waited for")
        });
        let place = &mut self.places[index as usize];
        place.round += 1;
        place.value = Some(value);
        let number = u64::from(place.round) << 32 | u64::from(index);
        self.live += 1;
        if self.queue.len() > 2 * self.live + SLACK {
            let places = &self.places;
            self.queue.retain(|&(_, number)| is_live(places, number));
        }
        let last = self.queue.back().map_or(now, |&(deadline, _)| deadline);
        self.queue.push_back((last.max(now + self.wait), number));
        number
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let place = self.places.get_mut(index(number))?;
        if place.round != round(number) {
            return None;
        }
        place.value.as_mut()
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        let place = self.places.get_mut(index(number))?;
        if place.round != round(number) {
            return None;
        }
        let value = place.value.take()?;
        self.live -= 1;
        // A place whose rounds are used up stays empty, so that no number comes back.
        if place.round < u32::MAX {
            self.free
                .push(u32::try_from(index(number)).unwrap_or_default());
        }
        Some(value)
    }

    /// The next one whose deadline has passed.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<(u64, T)> {
        while let Some(&(deadline, number)) = self.queue.front() {
            if deadline > now && is_live(&self.places, number) {
                return None;
            }
            self.queue.pop_front();
            if let Some(value) = self.remove(number) {
                return Some((number, value));
            }
        }
        None
    }

    /// When to look again. May be earlier than necessary.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if self.live == 0 {
            return None;
        }
        self.queue.front().map(|&(deadline, _)| deadline)
    }

    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// The numbers of those that `which` says, oldest place first.
    pub(crate) fn numbers(&self, mut which: impl FnMut(&T) -> bool) -> Vec<u64> {
        (0..)
            .zip(&self.places)
            .filter(|(_, place)| place.value.as_ref().is_some_and(&mut which))
            .map(|(index, place): (u32, _)| u64::from(place.round) << 32 | u64::from(index))
            .collect()
    }
}

fn index(number: u64) -> usize {
    // A usize has 32 bits or more.
    usize::try_from(number & u64::from(u32::MAX)).unwrap_or(usize::MAX)
}

fn round(number: u64) -> u32 {
    (number >> 32) as u32
}

fn is_live<T>(places: &[Place<T>], number: u64) -> bool {
    places
        .get(index(number))
        .is_some_and(|place| place.round == round(number) && place.value.is_some())
}

/// Those from whom an answer is awaited, each once. Mostly there is one, who takes no memory of its own.
#[derive(Debug, Default)]
pub(crate) struct Owing {
    /// None only if there are no more either.
    first: Option<MemberId>,
    more: Vec<MemberId>,
}

impl Owing {
    /// Adds one who is not there.
    pub(crate) fn push(&mut self, member: MemberId) {
        match self.first {
            None => self.first = Some(member),
            Some(_) => self.more.push(member),
        }
    }

    /// Takes one away; false if it was not there.
    pub(crate) fn remove(&mut self, member: MemberId) -> bool {
        if self.first == Some(member) {
            self.first = self.more.pop();
            return true;
        }
        let at = self.more.iter().position(|other| *other == member);
        at.map(|at| self.more.swap_remove(at)).is_some()
    }

    pub(crate) fn contains(&self, member: MemberId) -> bool {
        self.first == Some(member) || self.more.contains(&member)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_not_given_twice_and_deadlines_come_in_order() {
        let start = Instant::now();
        let mut awaited = Awaited::new(Duration::from_secs(1));
        let a = awaited.insert('a', start);
        let b = awaited.insert('b', start + Duration::from_millis(10));
        assert_eq!(awaited.remove(a), Some('a'));
        let c = awaited.insert('c', start + Duration::from_millis(20));
        assert!(a != c && awaited.get_mut(a).is_none() && awaited.remove(a).is_none());
        assert_eq!(awaited.expired(start + Duration::from_secs(1)), None);
        assert_eq!(
            awaited.expired(start + Duration::from_millis(1010)),
            Some((b, 'b'))
        );
        assert_eq!(awaited.expired(start + Duration::from_millis(1010)), None);
        assert_eq!(
            awaited.expired(start + Duration::from_secs(9)),
            Some((c, 'c'))
        );
        assert_eq!(awaited.len(), 0);
        assert_eq!(awaited.next_deadline(), None);
    }

    #[test]
    fn each_one_that_owes_an_answer_is_there_until_it_is_taken_away() {
        let mut owing = Owing::default();
        assert!(owing.is_empty() && !owing.contains(0) && !owing.remove(0));
        for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1]] {
            (1..=3).for_each(|member| owing.push(member));
            for (taken, member) in order.into_iter().enumerate() {
                assert!(owing.contains(member) && !owing.is_empty());
                assert!(owing.remove(member) && !owing.remove(member) && !owing.contains(member));
                let left = (1..=3).filter(|member| owing.contains(*member));
                assert_eq!(left.count(), 2 - taken);
            }
            assert!(owing.is_empty());
        }
    }

    #[test]
    fn what_is_done_long_before_its_deadline_takes_no_memory() {
        let now = Instant::now();
        let mut awaited = Awaited::new(Duration::from_secs(5));
        let slow = awaited.insert(0, now);
        for i in 0..100_000 {
            let number = awaited.insert(i, now);
            awaited.remove(number);
        }
        assert!(awaited.queue.len() < 2 * SLACK && awaited.places.len() == 2);
        assert_eq!(
            awaited.expired(now + Duration::from_secs(5)),
            Some((slow, 0))
        );
    }
}
