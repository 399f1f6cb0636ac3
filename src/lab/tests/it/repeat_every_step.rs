//! The answer to each write of the hub is lost once: it is done again, and nothing is done twice.

use lifeboat_lab::lab::Fault;

use crate::crash_every_step::every_write;

#[test]
fn a_relocation_survives_a_lost_answer_to_each_write() {
    every_write(
        "",
        "relocate to west\nwait settled on west within 5m\nexpect epoch 2\nexpect lost 0\nexpect only data on east\n",
        Fault::LoseReply,
    );
}

#[test]
fn a_failover_survives_a_lost_answer_to_each_write() {
    every_write(
        "",
        "kill site east\nfailover to north\nwait running on north within 2m\nrevive site east\n\
         wait settled on north within 5m\nexpect epoch 2\nexpect only data on east\n",
        Fault::LoseReply,
    );
}
