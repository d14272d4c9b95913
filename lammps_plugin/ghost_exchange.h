// Carries rows of numbers, one row per atom, between owned atoms and their ghosts while a model is being evaluated.
//
// Models on different ranks need not ask in step: a rank without atoms asks for nothing, another may have failed. So
// before each exchange all ranks meet and say what they are about to do; a rank whose model is done keeps taking part
// until all are, and a failure on any rank ends the exchanges of all.

#ifndef EFGMD_GHOST_EXCHANGE_H
#define EFGMD_GHOST_EXCHANGE_H

#include "python_model.h"

#include <string>
#include <vector>

namespace LAMMPS_NS {
class LAMMPS;
class Pair;
}    // namespace LAMMPS_NS

namespace efgmd {

class GhostExchange : public AtomRows {
 public:
  // Numbers (of eight bytes) per atom that LAMMPS is told to keep room for; longer rows travel in portions.
  static constexpr int WIDTH = 64;

  GhostExchange(LAMMPS_NS::LAMMPS *lmp, LAMMPS_NS::Pair *pair) : lmp(lmp), pair(pair) {}

  // A new evaluation. `row_of` holds the row of each owned and ghost atom, -1 for atoms without one.
  void begin(const std::vector<int> &row_of, bool has_pairs);

  // Collective, once the model of this rank is done or has failed: takes part in what the other ranks still exchange.
  // A failure that only repeats that of another rank is taken back.
  void finish(Failure &failure);

  std::string forward(const void *from, void *to, std::size_t row_bytes) override;
  std::string reverse(const void *from, void *to, std::size_t row_bytes, bool single) override;

  // The hooks of LAMMPS' communication, which calls them on the pair style.
  int pack_forward(int n, const int *list, double *buffer) const;
  void unpack_forward(int n, int first, const double *buffer);
  int pack_reverse(int n, int first, double *buffer) const;
  void unpack_reverse(int n, const int *list, const double *buffer);

 private:
  enum Intent { DONE, FORWARD, REVERSE_SINGLE, REVERSE_DOUBLE, FAILED };

  LAMMPS_NS::LAMMPS *lmp;
  LAMMPS_NS::Pair *pair;
  const std::vector<int> *row_of = nullptr;
  bool has_pairs = false;
  bool over = false;            // no rank exchanges any more
  bool others_fault = false;    // because another rank failed

  // The rows in transit, and which part of them travels now.
  char *rows = nullptr;
  std::size_t row_bytes = 0, offset = 0, portion = 0;
  Intent moving = DONE;
  std::vector<char> relayed;    // rows of a rank that only takes part

  // What all ranks do next; `bytes` becomes the size of the rows. `problem` is set where no exchange can follow.
  Intent meet(Intent mine, std::size_t &bytes, std::string &problem);
  void move(Intent what, void *data, std::size_t bytes);
  std::size_t words() const { return (portion + 7) / 8; }
};

}    // namespace efgmd

#endif
