// Python class efgmd._kernels.ElementTensor: the linear EFG model of one element, with its weights.

#include "kernels_dispatch.h"
#include "kernels_modules.h"

#include <mutex>
#include <stdexcept>
#include <string>

namespace py = pybind11;

namespace {

template <typename T> class ElementTensor {
 public:
  ElementTensor(const py::dict &w, int lmax, int species, int n_radial, double cutoff, double r0, int members,
                int rank) :
      lmax(lmax),
      species(species), n_radial(n_radial), members(members), rank(rank), cutoff(cutoff), r0(r0),
      path_l1(values<int>(w, "path_l1")), reduce(values<T>(w, "reduce")), pair(values<T>(w, "pair")),
      cores(values<T>(w, "cores")), maps(values<T>(w, "maps")), offset(values<T>(w, "offset")),
      start(values<long>(w, "start")), ia(values<int>(w, "index_a")), ib(values<int>(w, "index_b")),
      coefficient(values<T>(w, "coefficient"))
  {
    const std::size_t k = static_cast<std::size_t>(species) * n_radial, r = rank, m = members;
    left_rows = 0;
    for (int l : path_l1) left_rows += 2 * l + 1;
    if (lmax < 2 || lmax > MAX_L || species < 1 || species > MAX_SPECIES || n_radial < 1 || n_radial > MAX_RADIAL ||
        rank < 1 || rank % CHUNK != 0 || members < 1 || reduce.size() != (lmax + 1) * k * r || pair.size() != k * m ||
        cores.size() != path_l1.size() * r * m * r || maps.size() != MESSAGE_L * k * offset.size() ||
        (!offset.empty() && lmax < MESSAGE_L - 1) || start.size() != 6 || ia.size() != coefficient.size() ||
        ib.size() != coefficient.size())
      throw std::invalid_argument("ElementTensor: arrays do not fit the given sizes");
  }

  // Of the centres whose species is `kind`. Channels of their densities, if these were asked for, come into `own`.
  void evaluate(long count, long kind, std::uintptr_t kinds, std::uintptr_t first, std::uintptr_t neighbours,
                std::uintptr_t vectors, std::uintptr_t components, std::uintptr_t own)
  {
    py::gil_scoped_release release;
    const std::lock_guard<std::mutex> alone(busy);    // the scratch is this object's
    pick(count, reinterpret_cast<const long *>(kinds), kind, order);
    switch (lmax) {
      case 2: return run<2>(first, neighbours, vectors, components, own);
      case 3: return run<3>(first, neighbours, vectors, components, own);
      case 4: return run<4>(first, neighbours, vectors, components, own);
    }
  }

 private:
  template <int LMAX>
  void run(std::uintptr_t first, std::uintptr_t neighbours, std::uintptr_t vectors, std::uintptr_t components,
           std::uintptr_t own)
  {
    const std::vector<T> norm = normalisation<T>(LMAX);
    DISPATCH({
      const LinearWeights<T> w = {lmax,
                                  species,
                                  members,
                                  rank,
                                  static_cast<int>(path_l1.size()),
                                  left_rows,
                                  path_l1.data(),
                                  reduce.data(),
                                  pair.data(),
                                  cores.data(),
                                  {5, start.data(), ia.data(), ib.data(), coefficient.data()},
                                  static_cast<int>(offset.size()),
                                  maps.data(),
                                  offset.data()};
      LinearArrays<T> unused;
      const long need = linear_arrays<T>(w, n_radial, nullptr, unused);
      if (static_cast<long>(room.size()) < need) room.resize(need);
      const Radial<T> radial = {static_cast<T>(cutoff), static_cast<T>(r0), n_radial};
      tensors_of_element<T, LMAX>(w, radial, norm.data(), static_cast<long>(order.size()), order.data(),
                                  reinterpret_cast<const long *>(first), reinterpret_cast<const long *>(neighbours),
                                  reinterpret_cast<const T *>(vectors), room.data(), reinterpret_cast<T *>(components),
                                  reinterpret_cast<T *>(own));
    })
  }

  int lmax, species, n_radial, members, rank, left_rows;
  double cutoff, r0;
  std::vector<int> path_l1;
  std::vector<T> reduce, pair, cores, maps, offset;
  std::vector<long> start, order;
  std::vector<int> ia, ib;
  std::vector<T> coefficient;
  std::vector<T> room;
  std::mutex busy;
};

template <typename T> void bind(py::module_ &m, const char *name)
{
  py::class_<ElementTensor<T>>(m, name)
      .def(py::init<const py::dict &, int, int, int, double, double, int, int>())
      .def("evaluate", &ElementTensor<T>::evaluate);
}

}    // namespace

void bind_tensor(py::module_ &m)
{
  bind<float>(m, "ElementTensorFloat");
  bind<double>(m, "ElementTensorDouble");
}
