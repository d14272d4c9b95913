// Python class efgmd._kernels.Messages: tensors of one degree from messages, with the weights of all elements.

#include "kernels_dispatch.h"
#include "kernels_modules.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>

namespace py = pybind11;

namespace {

template <typename T> class Messages {
 public:
  Messages(const py::dict &w, int species, int n_radial, double r0, int members, int rank, int degree) :
      species(species), n_radial(n_radial), members(members), rank(rank), width(2 * degree + 1), r0(r0),
      cutoffs(values<T>(w, "cutoffs")), weight(values<T>(w, "weight")), start(values<long>(w, "start")),
      ia(values<int>(w, "index_a")), ib(values<int>(w, "index_b")), coefficient(values<T>(w, "coefficient"))
  {
    const std::size_t s = species, m = members;
    paths = (static_cast<int>(start.size()) - 1) / width;
    if (species < 1 || species > MAX_SPECIES || n_radial < 1 || n_radial > MAX_RADIAL || rank < 1 ||
        rank % CHUNK != 0 || members < 1 || paths < 1 || start.size() != width * static_cast<std::size_t>(paths) + 1 ||
        degree < 0 || degree >= MESSAGE_L || weight.size() != s * s * m * paths * n_radial * rank ||
        cutoffs.size() != s * s || ia.size() != coefficient.size() || ib.size() != coefficient.size())
      throw std::invalid_argument("Messages: arrays do not fit the given sizes");
    silent = all_zero(cutoffs, species);
    room.resize((static_cast<std::size_t>(MESSAGE_ROWS) * rank + width * m + 1) * 16);    // no vector has more lanes
  }

  // Adds to the components.
  void evaluate(long count, std::uintptr_t kinds, std::uintptr_t first, std::uintptr_t neighbours, std::uintptr_t rows,
                std::uintptr_t vectors, std::uintptr_t channels, std::uintptr_t components)
  {
    py::gil_scoped_release release;
    const std::lock_guard<std::mutex> alone(busy);    // the scratch is this object's
    const T *x = reinterpret_cast<const T *>(vectors);
    sort_bonds(count, reinterpret_cast<const long *>(kinds), reinterpret_cast<const long *>(first),
               reinterpret_cast<const long *>(neighbours), x);
    const long of_pair = static_cast<long>(members) * paths * n_radial * rank;
    void *aligned = room.data();
    std::size_t space = room.size() * sizeof(T);
    if (!std::align(64, space - 64, aligned, space)) throw std::bad_alloc();
    DISPATCH({
      const std::vector<T> norm = normalisation<T>(MESSAGE_L);
      const Terms<T> products = {width * paths, start.data(), ia.data(), ib.data(), coefficient.data()};
      auto add = tensors_from_messages<T, 1>;
      if (width == 3) add = tensors_from_messages<T, 3>;
      if (width == 5) add = tensors_from_messages<T, 5>;
      if (width == 7) add = tensors_from_messages<T, 7>;
      for (int kind = 0; kind < species * species; kind++) {
        const Radial<T> radial = {cutoffs[kind], static_cast<T>(r0), n_radial};
        const MessageWeights<T> w = {members, rank, paths, weight.data() + kind * of_pair, products};
        const long from = begin[kind];
        add(w, radial, norm.data(), begin[kind + 1] - from, bonds.data() + from, centres.data() + from,
            reinterpret_cast<const long *>(rows), x, reinterpret_cast<const T *>(channels), static_cast<T *>(aligned),
            reinterpret_cast<T *>(components));
      }
    })
  }

 private:
  // Pairs within the cutoff of their elements and their centres, by the elements of both.
  void sort_bonds(long count, const long *kinds, const long *first, const long *neighbours, const T *x)
  {
    begin.assign(static_cast<std::size_t>(species) * species + 1, 0);
    near.clear();
    for (long i = 0; i < count; i++) {
      if (silent[kinds[i]]) continue;
      for (long p = first[i]; p < first[i + 1]; p++) {
        const long kind = kinds[i] * species + neighbours[p];
        const T square = x[3 * p] * x[3 * p] + x[3 * p + 1] * x[3 * p + 1] + x[3 * p + 2] * x[3 * p + 2];
        if (!(square < cutoffs[kind] * cutoffs[kind])) continue;
        near.push_back({p, i, kind});
        begin[near.back().kind + 1]++;
      }
    }
    for (std::size_t k = 1; k < begin.size(); k++) begin[k] += begin[k - 1];
    bonds.resize(near.size());
    centres.resize(near.size());
    next = begin;
    for (const Bond &bond : near) {
      const long place = next[bond.kind]++;
      bonds[place] = bond.pair;
      centres[place] = bond.centre;
    }
  }

  struct Bond {
    long pair, centre, kind;
  };

  int species, n_radial, members, rank, width, paths;
  double r0;
  std::vector<T> cutoffs;      // [element][element of the neighbour]
  std::vector<bool> silent;    // elements to whose centres nothing comes
  std::vector<T> weight;       // [element][element of the neighbour][member][path][n][rank]
  std::vector<long> start;
  std::vector<int> ia, ib;
  std::vector<T> coefficient, room;
  std::vector<long> begin, next, bonds, centres;
  std::vector<Bond> near;
  std::mutex busy;
};

template <typename T> void bind(py::module_ &m, const char *name)
{
  py::class_<Messages<T>>(m, name)
      .def(py::init<const py::dict &, int, int, double, int, int, int>())
      .def("evaluate", &Messages<T>::evaluate);
}

}    // namespace

void bind_messages(py::module_ &m)
{
  bind<float>(m, "MessagesFloat");
  bind<double>(m, "MessagesDouble");
}
