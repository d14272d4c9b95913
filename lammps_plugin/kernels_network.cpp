// Python class efgmd._kernels.ElementEnergy: the fused energy network of one element, with its weights.

#include "kernels_dispatch.h"
#include "kernels_modules.h"

#include <mutex>
#include <stdexcept>
#include <string>

namespace py = pybind11;

namespace {

// Sparse table of a product, owned.
template <typename T> struct OwnedTerms {
  std::vector<long> start;
  std::vector<int> ia, ib;
  std::vector<T> coefficient;

  OwnedTerms(const py::dict &table) :
      start(values<long>(table, "start")), ia(values<int>(table, "index_a")), ib(values<int>(table, "index_b")),
      coefficient(values<T>(table, "coefficient"))
  {
  }
};

template <typename T> class ElementEnergy {
 public:
  ElementEnergy(const py::dict &w, int lmax, int channels, int hidden, int species, int n_radial, double cutoff,
                double r0, double limit) :
      lmax(lmax),
      channels(channels), hidden(hidden), species(species), n_radial(n_radial), cutoff(cutoff), r0(r0), limit(limit),
      paths(values<int>(w, "paths_per_degree")), mean(values<T>(w, "density_mean")), mix(values<T>(w, "mix")),
      mix_back(values<T>(w, "mix_back")), remix(values<T>(w, "remix")), remix_back(values<T>(w, "remix_back")),
      inv_mean(values<T>(w, "invariant_mean")), inv_scale(values<T>(w, "invariant_scale")), w1(values<T>(w, "w1")),
      w1_back(values<T>(w, "w1_back")), b1(values<T>(w, "b1")), w2(values<T>(w, "w2")),
      w2_back(values<T>(w, "w2_back")), b2(values<T>(w, "b2")), w3(values<T>(w, "w3")), b3(values<T>(w, "b3")),
      pairs(w["pairs"]), pairs_back(w["pairs_back"]), contractions(w["contractions"]),
      contractions_back(w["contractions_back"])
  {
    const std::size_t c = channels, h = hidden, k = static_cast<std::size_t>(species) * n_radial;
    const std::size_t invariants = (1 + paths.at(0) + 2 * lmax) * c;
    if (lmax < 1 || lmax > MAX_L || species < 1 || species > MAX_SPECIES || n_radial < 1 || n_radial > MAX_RADIAL ||
        paths.size() != lmax + 1u || mean.size() != k || mix.size() != (lmax + 1) * k * c ||
        mix_back.size() != mix.size() || remix.size() != remix_back.size() || inv_mean.size() != invariants ||
        inv_scale.size() != invariants || w1.size() != invariants * h || w1_back.size() != w1.size() ||
        b1.size() != h || w2.size() != h * h || w2_back.size() != h * h || b2.size() != h || w3.size() != h ||
        b3.size() != 1)
      throw std::invalid_argument("ElementEnergy: arrays do not fit the given sizes");
  }

  // Of the centres whose species is `kind`.
  void evaluate(long count, long kind, std::uintptr_t kinds, std::uintptr_t first, std::uintptr_t neighbours,
                std::uintptr_t vectors, std::uintptr_t energies, std::uintptr_t grad_vectors)
  {
    py::gil_scoped_release release;
    const std::lock_guard<std::mutex> alone(busy);    // the scratch is this object's
    pick(count, reinterpret_cast<const long *>(kinds), kind, order);
    switch (lmax) {
      case 1: return run<1>(first, neighbours, vectors, energies, grad_vectors);
      case 2: return run<2>(first, neighbours, vectors, energies, grad_vectors);
      case 3: return run<3>(first, neighbours, vectors, energies, grad_vectors);
      case 4: return run<4>(first, neighbours, vectors, energies, grad_vectors);
    }
  }

 private:
  template <int LMAX>
  void run(std::uintptr_t first, std::uintptr_t neighbours, std::uintptr_t vectors, std::uintptr_t energies,
           std::uintptr_t grad_vectors)
  {
    const std::vector<T> norm = normalisation<T>(LMAX);
    DISPATCH({
      const auto terms = [](const OwnedTerms<T> &t) {
        return Terms<T>{static_cast<long>(t.start.size()) - 1, t.start.data(), t.ia.data(), t.ib.data(),
                        t.coefficient.data()};
      };
      const NetworkWeights<T> w = {lmax,
                                   channels,
                                   hidden,
                                   paths[0],
                                   species,
                                   paths.data(),
                                   mean.data(),
                                   mix.data(),
                                   mix_back.data(),
                                   remix.data(),
                                   remix_back.data(),
                                   inv_mean.data(),
                                   inv_scale.data(),
                                   w1.data(),
                                   w1_back.data(),
                                   b1.data(),
                                   w2.data(),
                                   w2_back.data(),
                                   b2.data(),
                                   w3.data(),
                                   b3[0],
                                   static_cast<T>(limit),
                                   terms(pairs),
                                   terms(pairs_back),
                                   terms(contractions),
                                   terms(contractions_back)};
      BlockArrays<T> unused;
      const long need = block_arrays<T>(w, n_radial, nullptr, unused);
      if (static_cast<long>(room.size()) < need) room.resize(need);
      const Radial<T> radial = {static_cast<T>(cutoff), static_cast<T>(r0), n_radial};
      energy_of_element<T, LMAX>(w, radial, norm.data(), static_cast<long>(order.size()), order.data(),
                                 reinterpret_cast<const long *>(first), reinterpret_cast<const long *>(neighbours),
                                 reinterpret_cast<const T *>(vectors), room.data(),
                                 reinterpret_cast<double *>(energies), reinterpret_cast<T *>(grad_vectors));
    })
  }

  int lmax, channels, hidden, species, n_radial;
  double cutoff, r0, limit;
  std::vector<int> paths;
  std::vector<T> mean, mix, mix_back, remix, remix_back, inv_mean, inv_scale, w1, w1_back, b1, w2, w2_back, b2, w3, b3;
  OwnedTerms<T> pairs, pairs_back, contractions, contractions_back;
  std::vector<T> room;
  std::vector<long> order;
  std::mutex busy;
};

template <typename T> void bind(py::module_ &m, const char *name)
{
  py::class_<ElementEnergy<T>>(m, name)
      .def(py::init<const py::dict &, int, int, int, int, int, double, double, double>())
      .def("evaluate", &ElementEnergy<T>::evaluate);
}

}    // namespace

void bind_network(py::module_ &m)
{
  bind<float>(m, "ElementEnergyFloat");
  bind<double>(m, "ElementEnergyDouble");
}
