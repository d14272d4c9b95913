// Python class efgmd._kernels.Messages: what messages add to an EFG model, with the weights of all elements.

#include "kernels_dispatch.h"
#include "kernels_modules.h"

#include <stdexcept>
#include <string>

namespace py = pybind11;

namespace {

template <typename T> class Messages {
 public:
  Messages(const py::dict &w, int species, int n_radial, double cutoff, double r0, int members, int rank) :
      species(species), n_radial(n_radial), members(members), rank(rank), cutoff(cutoff), r0(r0),
      weight(values<T>(w, "weight")), start(values<long>(w, "start")), ia(values<int>(w, "index_a")),
      ib(values<int>(w, "index_b")), coefficient(values<T>(w, "coefficient"))
  {
    const std::size_t s = species, m = members;
    paths = (static_cast<int>(start.size()) - 1) / 5;
    if (species < 1 || species > MAX_SPECIES || n_radial < 1 || n_radial > MAX_RADIAL || rank < 1 ||
        rank % CHUNK != 0 || members < 1 || paths < 1 || paths > MAX_MESSAGE_PATHS ||
        start.size() != 5 * static_cast<std::size_t>(paths) + 1 ||
        weight.size() != s * m * s * paths * n_radial * rank || ia.size() != coefficient.size() ||
        ib.size() != coefficient.size() || coefficient.size() > MAX_MESSAGE_TERMS)
      throw std::invalid_argument("Messages: arrays do not fit the given sizes");
    room.resize(m * 5 * CHUNK);
  }

  void evaluate(long count, std::uintptr_t kinds, std::uintptr_t first, std::uintptr_t neighbours, std::uintptr_t rows,
                std::uintptr_t vectors, std::uintptr_t channels, std::uintptr_t components)
  {
    py::gil_scoped_release release;
    DISPATCH({
      const std::vector<T> norm = normalisation<T>(MESSAGE_L);
      const MessageWeights<T> w = {species,       members,
                                   rank,          paths,
                                   weight.data(), {5 * paths, start.data(), ia.data(), ib.data(), coefficient.data()}};
      const Radial<T> radial = {static_cast<T>(cutoff), static_cast<T>(r0), n_radial};
      tensors_from_messages<T>(w, radial, norm.data(), count, reinterpret_cast<const long *>(kinds),
                               reinterpret_cast<const long *>(first), reinterpret_cast<const long *>(neighbours),
                               reinterpret_cast<const long *>(rows), reinterpret_cast<const T *>(vectors),
                               reinterpret_cast<const T *>(channels), room.data(), reinterpret_cast<T *>(components));
    })
  }

 private:
  int species, n_radial, members, rank, paths;
  double cutoff, r0;
  std::vector<T> weight;
  std::vector<long> start;
  std::vector<int> ia, ib;
  std::vector<T> coefficient, room;
};

template <typename T> void bind(py::module_ &m, const char *name)
{
  py::class_<Messages<T>>(m, name)
      .def(py::init<const py::dict &, int, int, double, double, int, int>())
      .def("evaluate", &Messages<T>::evaluate);
}

}    // namespace

void bind_messages(py::module_ &m)
{
  bind<float>(m, "MessagesFloat");
  bind<double>(m, "MessagesDouble");
}
