// Python class efgmd._kernels.Messages: sums of several degrees over messages, with the weights of all elements.

#include "kernels_dispatch.h"
#include "kernels_modules.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <pybind11/stl.h>
#include <stdexcept>
#include <string>

namespace py = pybind11;

namespace {

template <typename T> class Messages {
 public:
  // `sums` has a dict of weights for each degree that is wanted.
  Messages(const py::dict &w, const py::list &sums, int species, int n_radial, double r0, int rank) :
      species(species), n_radial(n_radial), rank(rank), r0(r0), cutoffs(values<T>(w, "cutoffs"))
  {
    const std::size_t s = species;
    if (species < 1 || species > MAX_SPECIES || n_radial < 1 || n_radial > MAX_RADIAL || rank < 1 ||
        rank % CHUNK != 0 || cutoffs.size() != s * s)
      throw std::invalid_argument("Messages: sizes that no model has");
    std::size_t most = 0;
    for (const py::handle &one : sums) {
      parts.emplace_back(py::cast<py::dict>(one), species, n_radial, rank);
      const Part &part = parts.back();
      most = std::max(most, static_cast<std::size_t>(part.width) * part.members);
    }
    silent = all_zero(cutoffs, species);
    room.resize((static_cast<std::size_t>(MESSAGE_ROWS) * rank + most + 1) * 16);    // no vector has more lanes
  }

  // Adds to the sums (members, 2 l + 1) of each centre, whose addresses come in the order of the weights.
  void evaluate(long count, std::uintptr_t kinds, std::uintptr_t first, std::uintptr_t neighbours, std::uintptr_t rows,
                std::uintptr_t vectors, std::uintptr_t channels, const std::vector<std::uintptr_t> &results)
  {
    if (results.size() != parts.size()) throw std::invalid_argument("Messages: not as many results as sums");
    py::gil_scoped_release release;
    const std::lock_guard<std::mutex> alone(busy);    // the scratch is this object's
    const T *x = reinterpret_cast<const T *>(vectors);
    sort_bonds(count, reinterpret_cast<const long *>(kinds), reinterpret_cast<const long *>(first),
               reinterpret_cast<const long *>(neighbours), x);
    void *aligned = room.data();
    std::size_t space = room.size() * sizeof(T);
    if (!std::align(64, space - 64, aligned, space)) throw std::bad_alloc();
    DISPATCH({
      const std::vector<T> norm = normalisation<T>(MESSAGE_L);
      std::vector<MessageSums<T>> sums;
      for (int kind = 0; kind < species * species; kind++) {
        sums.clear();
        for (std::size_t k = 0; k < parts.size(); k++) {
          const Part &p = parts[k];
          if (p.silent[kind]) continue;
          const T *weight = p.weight.data() + static_cast<long>(kind) * p.members * p.paths * n_radial * rank;
          const Terms<T> terms = {static_cast<long>(p.width) * p.paths, p.start.data(), p.ia.data(), p.ib.data(),
                                  p.coefficient.data()};
          sums.push_back(
              {p.members, p.width, p.paths, p.degree.data(), weight, terms, reinterpret_cast<T *>(results[k])});
        }
        const long from = begin[kind];
        if (sums.empty() || begin[kind + 1] == from) continue;
        const Radial<T> radial = {cutoffs[kind], static_cast<T>(r0), n_radial};
        sums_of_messages<T>(sums.data(), static_cast<int>(sums.size()), rank, radial, norm.data(),
                            begin[kind + 1] - from, bonds.data() + from, centres.data() + from,
                            reinterpret_cast<const long *>(rows), x, reinterpret_cast<const T *>(channels),
                            static_cast<T *>(aligned));
      }
    })
  }

 private:
  // Weights of the sums of one degree.
  struct Part {
    int members, width, paths;
    std::vector<int> degree;    // [path], of the channels
    std::vector<T> weight;      // [element][element of the neighbour][member][path][n][rank]
    std::vector<long> start;
    std::vector<int> ia, ib;
    std::vector<T> coefficient;
    std::vector<bool> silent;    // pairs of elements whose weights are zero

    Part(const py::dict &w, int species, int n_radial, int rank) :
        members(py::cast<int>(w["members"])), width(2 * py::cast<int>(w["degree"]) + 1),
        degree(values<int>(w, "channel_degree")), weight(values<T>(w, "weight")), start(values<long>(w, "start")),
        ia(values<int>(w, "index_a")), ib(values<int>(w, "index_b")), coefficient(values<T>(w, "coefficient"))
    {
      const std::size_t s = species, m = members;
      paths = (static_cast<int>(start.size()) - 1) / width;
      if (members < 1 || paths < 1 || degree.size() != static_cast<std::size_t>(paths) ||
          std::any_of(degree.begin(), degree.end(), [](int l) { return l < 0 || l >= MESSAGE_L; }) || width < 1 ||
          width > 2 * MESSAGE_L - 1 || start.size() != width * static_cast<std::size_t>(paths) + 1 ||
          weight.size() != s * s * m * paths * n_radial * rank || ia.size() != coefficient.size() ||
          ib.size() != coefficient.size())
        throw std::invalid_argument("Messages: arrays do not fit the given sizes");
      silent = all_zero(weight, species * species);
    }
  };

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

  int species, n_radial, rank;
  double r0;
  std::vector<T> cutoffs;      // [element][element of the neighbour]
  std::vector<bool> silent;    // elements to whose centres nothing comes
  std::vector<Part> parts;
  std::vector<T> room;
  std::vector<long> begin, next, bonds, centres;
  std::vector<Bond> near;
  std::mutex busy;
};

template <typename T> void bind(py::module_ &m, const char *name)
{
  py::class_<Messages<T>>(m, name)
      .def(py::init<const py::dict &, const py::list &, int, int, double, int>())
      .def("evaluate", &Messages<T>::evaluate);
}

}    // namespace

void bind_messages(py::module_ &m)
{
  bind<float>(m, "MessagesFloat");
  bind<double>(m, "MessagesDouble");
}
