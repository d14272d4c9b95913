// The pairs that a model sees, grouped by centre (compressed rows).

#ifndef EFGMD_CENTRED_PAIRS_H
#define EFGMD_CENTRED_PAIRS_H

#include <cstdint>
#include <vector>

namespace efgmd {

struct CentredPairs {
  std::vector<int> centre;                        // index of each centre among the owned atoms
  std::vector<std::int64_t> species;              // element of each centre, as the model numbers them
  std::vector<std::int64_t> first;                // pairs of centre k are first[k] ... first[k+1]-1
  std::vector<int> neighbour;                     // index of each neighbour among owned and ghost atoms
  std::vector<std::int64_t> neighbour_species;    // element of each neighbour
  std::vector<double> vectors;                    // centre to neighbour, 3 numbers per pair, angstrom

  std::size_t ncentres() const { return centre.size(); }
  std::size_t npairs() const { return neighbour.size(); }

  void clear()
  {
    centre.clear();
    species.clear();
    first.assign(1, 0);
    neighbour.clear();
    neighbour_species.clear();
    vectors.clear();
  }

  void begin_centre(int i, std::int64_t element)
  {
    centre.push_back(i);
    species.push_back(element);
  }

  void add(int j, std::int64_t element, double dx, double dy, double dz)
  {
    neighbour.push_back(j);
    neighbour_species.push_back(element);
    vectors.insert(vectors.end(), {dx, dy, dz});
  }

  void end_centre() { first.push_back(static_cast<std::int64_t>(neighbour.size())); }

  double bytes() const
  {
    return sizeof(int) * (centre.capacity() + neighbour.capacity()) + sizeof(double) * vectors.capacity() +
           sizeof(std::int64_t) * (species.capacity() + first.capacity() + neighbour_species.capacity());
  }
};

}    // namespace efgmd

#endif
