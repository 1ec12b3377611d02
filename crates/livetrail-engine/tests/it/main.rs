//! The engine from outside: admission, budgets, sessions and their ends, the bus, shards.

mod admission;
mod budgets;
mod ends;
mod fanout;
mod grants;
mod hosts;
mod lifecycle;
mod requests;
mod shards;
mod support;
mod viewers;
mod waiting;
