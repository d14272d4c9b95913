// The pairs that a model sees, grouped by centre (compressed rows).

#ifndef EFGMD_CENTRED_PAIRS_H
#define EFGMD_CENTRED_PAIRS_H

#include <algorithm>
#include <cstdint>
#include <vector>

namespace efgmd {

struct CentredPairs {
  std::vector<int> centre;              // index of each centre among the owned atoms
  std::vector<std::int64_t> species;    // element of each centre, as the model numbers them
  std::vector<std::int64_t> first;      // pairs of centre k are first[k] ... first[k+1]-1

  // Of each pair. These arrays never shrink, so that most steps allocate nothing: only npairs() entries count.
  std::vector<int> neighbour;                     // index of the neighbour among owned and ghost atoms
  std::vector<std::int64_t> neighbour_species;    // its element
  std::vector<double> vectors;                    // centre to neighbour, 3 numbers per pair, angstrom

  std::size_t ncentres() const { return centre.size(); }
  std::size_t npairs() const { return count; }

  void clear()
  {
    centre.clear();
    species.clear();
    first.assign(1, 0);
    count = 0;
  }

  // Room for this many pairs is made at once: add() checks nothing.
  void begin_centre(int i, std::int64_t element, std::size_t most_pairs)
  {
    centre.push_back(i);
    species.push_back(element);
    if (count + most_pairs <= neighbour.size()) return;
    const std::size_t size = std::max(count + most_pairs, neighbour.size() + neighbour.size() / 8);
    grow(neighbour, size);
    grow(neighbour_species, size);
    grow(vectors, 3 * size);
  }

  // Written in any case and counted if it is wanted: no branch that a processor could not foresee.
  void add(bool wanted, int j, std::int64_t element, double dx, double dy, double dz)
  {
    neighbour[count] = j;
    neighbour_species[count] = element;
    vectors[3 * count] = dx;
    vectors[3 * count + 1] = dy;
    vectors[3 * count + 2] = dz;
    count += wanted;
  }

  void end_centre() { first.push_back(static_cast<std::int64_t>(count)); }

  double bytes() const
  {
    return sizeof(int) * (centre.capacity() + neighbour.capacity()) + sizeof(double) * vectors.capacity() +
           sizeof(std::int64_t) * (species.capacity() + first.capacity() + neighbour_species.capacity());
  }

 private:
  std::size_t count = 0;

  // A vector left alone would double.
  template <typename T> static void grow(std::vector<T> &array, std::size_t size)
  {
    array.reserve(size);
    array.resize(size);
  }
};

}    // namespace efgmd

#endif
