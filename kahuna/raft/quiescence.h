// Quiescence: a group in which nothing happens costs no messages and no timers. Its leader sends no
// heartbeats, its followers await none, and none of them has a deadline.
//
// A leader of which nothing was asked for Options::quiesce_after (or yet), and whose group is at
// rest, says so in its heartbeats. A follower that is at rest with it agrees, and is quiet from
// then on. Once every member has agreed the leader is quiet as well.
//
//   Q1 a leader is quiet only when every member's log equals its own, and each has agreed to that
//   in a
//      round begun since anything last changed;
//   Q2 a follower is quiet only while it follows a leader, with a log that is whole, matched,
//   durable,
//      committed and applied to its end;
//   Q3 anything but that agreement wakes: a proposal, a read, a change, a hand-over, a message. A
//      follower that is woken by anybody but its leader tells the leader (kWake), which wakes and
//      lets itself be heard by all: at once, and asking them to be quiet again if nothing else is
//      wanted;
//   Q4 a woken follower gives its leader an election timeout to be heard, and the others do as well
//   when
//      it asks them for a pre-vote. So a leader that lives is not deposed, and one that does not
//      answer for its group is, however much alive its node;
//   Q5 a quiet group has no lease: none is renewed, and the first read wakes;
//   Q6 a replica that hears no leader and may not campaign itself asks the others for one: it may
//   lack
//      what only a leader can give it. With its state it may have lost who they are: then it asks
//      whom its driver names (acquaint()).
//
// What nobody inside can notice the driver must: it calls peer_disconnected() when the node of a
// quiet group's leader gives no sign of life, wake() when somebody wants something of the group,
// and wake() on every quiet follower in its turn, slowly.
#pragma once

#include <cstdint>

#include "kahuna/raft/configuration.h"
#include "runtime/time.h"

namespace kahuna::raft {

struct Quiescence {
  bool quiet = false;
  // Leading:
  Time active;         // when something was last asked of it
  uint64_t since = 0;  // the first round in which it asked all to be quiet; 0: it does not ask
  MemberSet agreed = 0;
};

}  // namespace kahuna::raft
