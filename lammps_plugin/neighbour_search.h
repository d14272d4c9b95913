// Neighbours of chosen atoms within a cutoff, from the positions of owned and ghost atoms (cell lists, linear cost).

#ifndef EFGMD_NEIGHBOUR_SEARCH_H
#define EFGMD_NEIGHBOUR_SEARCH_H

#include "centred_pairs.h"

#include <vector>

namespace efgmd {

class NeighbourSearch {
 public:
  // Cells suit the shortest of the distances that most centres see within; others may be longer or shorter.
  explicit NeighbourSearch(double shortest) : shortest(shortest) {}

  // Sorts copies of the `n` positions `x` into cells; atoms with a negative element are left out. Positions must be
  // finite.
  void sort(int n, double **x, const std::vector<int> &elements);

  // Appends atom i as a centre with all its neighbours closer than a distance.
  void add_neighbours(int i, CentredPairs &pairs, double within);

  double bytes() const
  {
    return sizeof(int) * start.capacity() + sizeof(Placed) * atoms.capacity() + sizeof(Range) * rows.capacity();
  }

 private:
  static constexpr int REACH = 2;    // cells to look into on either side for the shortest distance

  struct Placed {
    double x, y, z;
    int index, element;
  };

  struct Range {
    int begin, end;
  };

  double shortest;
  double **x = nullptr;
  const std::vector<int> *elements = nullptr;
  double low[3], width[3];
  int ncells[3];
  std::vector<int> start;    // atoms of cell c are atoms[start[c]] ... atoms[start[c+1]-1]
  std::vector<Placed> atoms;
  std::vector<Range> rows;    // of atoms to look at

  int coordinate(double position, int d) const;
  int cell(const double *position) const;
};

}    // namespace efgmd

#endif
