#include "ghost_exchange.h"

#include <algorithm>
#include <atom.h>
#include <climits>
#include <comm.h>
#include <cstring>
#include <lammps.h>
#include <mpi.h>

using namespace LAMMPS_NS;

namespace efgmd {

void GhostExchange::begin(const std::vector<int> &rows_of_atoms, bool any_pairs)
{
  row_of = &rows_of_atoms;
  has_pairs = any_pairs;
  over = others_fault = false;
}

/* ---------------------------------------------------------------------- */

GhostExchange::Intent GhostExchange::meet(Intent mine, std::size_t &bytes, std::string &problem)
{
  const bool exchanging = mine == FORWARD || mine == REVERSE_SINGLE || mine == REVERSE_DOUBLE;
  const int size = static_cast<int>(bytes);
  int told[7] = {mine == FORWARD,       mine == REVERSE_SINGLE,       mine == REVERSE_DOUBLE,   mine == FAILED,
                 exchanging ? size : 0, exchanging ? -size : INT_MIN, mine == DONE && has_pairs};
  int all[7];
  MPI_Allreduce(told, all, 7, MPI_INT, MPI_MAX, lmp->world);

  if (all[3]) {
    problem = "another rank failed";
    others_fault = mine != FAILED;
  } else if (all[0] + all[1] + all[2] > 1)
    problem = "ranks exchange ghost data in different order: the model must call forward_exchange and "
              "reverse_exchange alike on every rank";
  else if (all[4] > 0 && all[4] != -all[5])
    problem = "ranks exchange ghost rows of different sizes, " + std::to_string(-all[5]) + " and " +
              std::to_string(all[4]) + " bytes per atom";
  else if (all[4] > 0 && all[6])
    problem = "the model exchanged ghost data less often on some rank with pairs than on another";
  over = !problem.empty() || all[4] == 0;
  bytes = all[4];
  if (over) return DONE;
  return all[0] ? FORWARD : all[1] ? REVERSE_SINGLE : REVERSE_DOUBLE;
}

/* ---------------------------------------------------------------------- */

void GhostExchange::move(Intent what, void *data, std::size_t bytes)
{
  rows = static_cast<char *>(data);
  row_bytes = bytes;
  moving = what;
  for (offset = 0; offset < row_bytes; offset += portion) {
    portion = std::min<std::size_t>(row_bytes - offset, 8 * WIDTH);
    if (moving == FORWARD)
      lmp->comm->forward_comm(pair, static_cast<int>(words()));
    else
      lmp->comm->reverse_comm(pair, static_cast<int>(words()));
  }
  rows = nullptr;
}

/* ---------------------------------------------------------------------- */

void GhostExchange::finish(Failure &failure)
{
  while (!over) {
    std::size_t bytes = 0;
    std::string problem;
    Intent what = meet(failure ? FAILED : DONE, bytes, problem);
    if (over) {
      if (!failure && !others_fault) failure.message = problem;
      break;
    }
    relayed.assign(bytes * (lmp->atom->nlocal + lmp->atom->nghost), 0);
    move(what, relayed.data(), bytes);
  }
  if (others_fault) failure = Failure();
}

/* ----------------------------------------------------------------------
   Owned rows are copied and ghost rows become those of their owners.
------------------------------------------------------------------------- */

std::string GhostExchange::forward(const void *from, void *to, std::size_t bytes)
{
  if (over) return "another rank failed";
  std::string problem;
  std::size_t agreed = bytes;
  meet(FORWARD, agreed, problem);
  if (!problem.empty()) return problem;
  std::size_t owned = 0;
  for (int i = 0; i < lmp->atom->nlocal; i++) owned += (*row_of)[i] >= 0;
  if (to != from) std::memcpy(to, from, owned * bytes);
  move(FORWARD, to, bytes);
  return "";
}

/* ----------------------------------------------------------------------
   The adjoint: ghost rows are added to those of their owners and become zero.
------------------------------------------------------------------------- */

std::string GhostExchange::reverse(const void *from, void *to, std::size_t bytes, bool single)
{
  if (over) return "another rank failed";
  std::string problem;
  std::size_t agreed = bytes;
  Intent what = meet(single ? REVERSE_SINGLE : REVERSE_DOUBLE, agreed, problem);
  if (!problem.empty()) return problem;
  const int nlocal = lmp->atom->nlocal, ntotal = nlocal + lmp->atom->nghost;
  std::size_t owned = 0, ghosts = 0;
  for (int i = 0; i < ntotal; i++) (i < nlocal ? owned : ghosts) += (*row_of)[i] >= 0;
  if (to != from) std::memcpy(to, from, (owned + ghosts) * bytes);
  move(what, to, bytes);
  std::memset(static_cast<char *>(to) + owned * bytes, 0, ghosts * bytes);
  return "";
}

/* ---------------------------------------------------------------------- */

int GhostExchange::pack_forward(int n, const int *list, double *buffer) const
{
  for (int k = 0; k < n; k++, buffer += words()) {
    const int row = (*row_of)[list[k]];
    if (row >= 0) std::memcpy(buffer, rows + row * row_bytes + offset, portion);
  }
  return n * static_cast<int>(words());
}

void GhostExchange::unpack_forward(int n, int first, const double *buffer)
{
  for (int i = first; i < first + n; i++, buffer += words()) {
    const int row = (*row_of)[i];
    if (row >= 0) std::memcpy(rows + row * row_bytes + offset, buffer, portion);
  }
}

int GhostExchange::pack_reverse(int n, int first, double *buffer) const
{
  for (int i = first; i < first + n; i++, buffer += words()) {
    const int row = (*row_of)[i];
    if (row >= 0) std::memcpy(buffer, rows + row * row_bytes + offset, portion);
  }
  return n * static_cast<int>(words());
}

template <typename T> static void add(void *target, const void *source, std::size_t bytes)
{
  auto *to = static_cast<T *>(target);
  auto *from = static_cast<const T *>(source);
  for (std::size_t c = 0; c < bytes / sizeof(T); c++) to[c] += from[c];
}

void GhostExchange::unpack_reverse(int n, const int *list, const double *buffer)
{
  for (int k = 0; k < n; k++, buffer += words()) {
    const int row = (*row_of)[list[k]];
    if (row < 0) continue;
    if (moving == REVERSE_SINGLE)
      add<float>(rows + row * row_bytes + offset, buffer, portion);
    else
      add<double>(rows + row * row_bytes + offset, buffer, portion);
  }
}

}    // namespace efgmd
