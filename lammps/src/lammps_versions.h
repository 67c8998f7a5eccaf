// What differs between the versions of LAMMPS that the styles compile against.

#ifndef DISTILL_LAMMPS_VERSIONS_H
#define DISTILL_LAMMPS_VERSIONS_H

#include "comm.h"
#include "error.h"
#include "neighbor.h"
#include "pair.h"
#if __has_include("neigh_request.h")
#include "neigh_request.h"
#else
#include "pointers.h"
#endif

namespace LAMMPS_NS {

#if !__has_include("neigh_request.h")
// Installed headers lack that of a request; its first members, of which the last two are wanted.
class NeighRequest : protected Pointers {
 public:
  int index;
  void *requestor;
  int requestor_instance, id, pair, fix, compute, command, neigh, half, full;
};
#endif

namespace distill_versions {

// A full list for a pair style: `add_request` with the flag REQ_FULL since 2022, before it by hand.
template <class N>
auto request_full_list(N *neighbor, Pair *pair, int, Error *, int) -> decltype(neighbor->add_request(pair, 1), void()) {
  neighbor->add_request(pair, 1);
}
template <class N>
void request_full_list(N *neighbor, Pair *pair, int instance, Error *error, long) {
  // Asked first: the array of requests moves when it grows.
  const int number = neighbor->request(static_cast<void *>(pair), instance);
  NeighRequest *request = neighbor->requests[number];
  if (request->requestor != pair || request->pair != 1 || request->half != 1 || request->full != 0)
    error->all(FLERR, std::string("Pair style distill was compiled with the headers of another LAMMPS; build it "
                                  "again"));
  request->half = 0;
  request->full = 1;
}

template <class C>
auto sum_over_ghosts(C *comm, Pair *pair, int) -> decltype(comm->reverse_comm(pair), void()) {
  comm->reverse_comm(pair);
}
template <class C>
void sum_over_ghosts(C *comm, Pair *pair, long) {
  comm->reverse_comm_pair(pair);
}

}  // namespace distill_versions
}  // namespace LAMMPS_NS

#endif
