// Python class efgmd._kernels.Channels: what the atoms of an EFG model with messages tell their neighbours, with the
// weights of all elements.

#include "kernels_dispatch.h"
#include "kernels_modules.h"

#include <algorithm>
#include <mutex>
#include <stdexcept>
#include <string>

namespace py = pybind11;

namespace {

template <typename T> class Channels {
 public:
  Channels(const py::dict &w, int species, int n_radial, double cutoff, double r0, int rank) :
      species(species), n_radial(n_radial), rank(rank), cutoff(cutoff), r0(r0), mean(values<T>(w, "mean")),
      maps(values<T>(w, "maps"))
  {
    const std::size_t s = species, k = s * n_radial, r = rank;
    if (species < 1 || species > MAX_SPECIES || n_radial < 1 || n_radial > MAX_RADIAL || rank < 1 ||
        mean.size() != s * k || maps.size() != s * MESSAGE_L * k * r)
      throw std::invalid_argument("Channels: arrays do not fit the given sizes");
  }

  void evaluate(long count, std::uintptr_t kinds, std::uintptr_t first, std::uintptr_t neighbours,
                std::uintptr_t vectors, std::uintptr_t channels)
  {
    py::gil_scoped_release release;
    const std::lock_guard<std::mutex> alone(busy);    // the scratch is this object's
    const long *kind = reinterpret_cast<const long *>(kinds), *begin = reinterpret_cast<const long *>(first);
    const long k = static_cast<long>(species) * n_radial;
    long most = 1;
    for (long i = 0; i < count; i++) most = std::max(most, begin[i + 1] - begin[i]);
    near_species.resize(most);
    near_vectors.resize(3 * most);
    const std::vector<T> norm = normalisation<T>(MESSAGE_L - 1);
    DISPATCH({
      room.resize(MESSAGE_ROWS * BLOCK_CENTRES * (k + rank) + k * padded(MESSAGE_ROWS));
      const Radial<T> radial = {static_cast<T>(cutoff), static_cast<T>(r0), n_radial};
      for (int s = 0; s < species; s++) {
        pick(count, kind, s, order);
        const ChannelWeights<T> w = {species, rank, mean.data() + s * k, maps.data() + s * MESSAGE_L * k * rank};
        channels_of_element<T>(w, radial, norm.data(), static_cast<long>(order.size()), order.data(), begin,
                               reinterpret_cast<const long *>(neighbours), reinterpret_cast<const T *>(vectors),
                               near_species.data(), near_vectors.data(), room.data(), reinterpret_cast<T *>(channels));
      }
    })
  }

 private:
  int species, n_radial, rank;
  double cutoff, r0;
  std::vector<T> mean, maps;    // [element][K], [element][l][K][rank]
  std::vector<long> order, near_species;
  std::vector<T> near_vectors, room;
  std::mutex busy;
};

template <typename T> void bind(py::module_ &m, const char *name)
{
  py::class_<Channels<T>>(m, name)
      .def(py::init<const py::dict &, int, int, double, double, int>())
      .def("evaluate", &Channels<T>::evaluate);
}

}    // namespace

void bind_channels(py::module_ &m)
{
  bind<float>(m, "ChannelsFloat");
  bind<double>(m, "ChannelsDouble");
}
