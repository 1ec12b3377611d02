//! Which origin comes next.

use std::collections::VecDeque;

/// The order in which origins are tried, as indices into their list. In a round each is tried once.
///
/// - The first round, and each that follows a wait, is in the order of the list.
/// - When an origin is lost, a new round begins at once. The lost one comes last in it.
#[derive(Debug)]
pub(crate) struct Order {
    origins: usize,
    round: VecDeque<usize>,
}

impl Order {
    /// The first round over this many origins.
    pub(crate) fn new(origins: usize) -> Self {
        Self {
            origins,
            round: (0..origins).collect(),
        }
    }

    /// The next origin of this round; `None` when all were tried.
    pub(crate) fn next(&mut self) -> Option<usize> {
        self.round.pop_front()
    }

    /// Begins a round after a wait.
    pub(crate) fn restart(&mut self) {
        *self = Self::new(self.origins);
    }

    /// Begins a round because this origin was lost.
    pub(crate) fn lost(&mut self, lost: usize) {
        let others = (0..self.origins).filter(|origin| *origin != lost);
        self.round = others.chain([lost]).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(order: &mut Order) -> Vec<usize> {
        std::iter::from_fn(|| order.next()).collect()
    }

    #[test]
    fn a_round_has_each_origin_once_and_the_lost_one_last() {
        let mut order = Order::new(3);
        assert_eq!(order.next(), Some(0));
        order.lost(0);
        assert_eq!(rest(&mut order), [1, 2, 0]);
        order.lost(1);
        assert_eq!(rest(&mut order), [0, 2, 1]);
        order.restart();
        assert_eq!(rest(&mut order), [0, 1, 2]);
        let mut one = Order::new(1);
        assert_eq!(rest(&mut one), [0]);
        one.lost(0);
        assert_eq!(rest(&mut one), [0]);
    }
}
