// Python class efgmd._kernels.Products: tensors from products of own channels with messages, of all elements.

#include "kernels_dispatch.h"
#include "kernels_modules.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <stdexcept>
#include <string>

namespace py = pybind11;

namespace {

template <typename T> class Products {
 public:
  Products(const py::dict &w, int species, int members, int rank) :
      species(species), members(members), rank(rank), chunks((rank + CHUNK - 1) / CHUNK),
      degree(values<int>(w, "degree")), weight(values<T>(w, "weight")), offset(values<T>(w, "offset")),
      start(values<long>(w, "start")), ia(values<int>(w, "index_a")), ib(values<int>(w, "index_b")),
      coefficient(values<T>(w, "coefficient"))
  {
    const std::size_t s = species, r = rank, paths = degree.size();
    if (species < 1 || species > MAX_SPECIES || members < 1 || rank < 1 || offset.size() != s * r ||
        weight.size() != s * members * paths * r * chunks * CHUNK || start.size() != 5 * paths + 1 ||
        ia.size() != coefficient.size() || ib.size() != coefficient.size())
      throw std::invalid_argument("Products: arrays do not fit the given sizes");
    silent = all_zero(weight, species);
  }

  // Adds to the components.
  void evaluate(long count, std::uintptr_t kinds, std::uintptr_t own, std::uintptr_t sums0, std::uintptr_t sums1,
                std::uintptr_t sums2, std::uintptr_t sums3, std::uintptr_t components)
  {
    py::gil_scoped_release release;
    const std::lock_guard<std::mutex> alone(busy);    // the scratch is this object's
    const std::array<const T *, MESSAGE_L> sums = {
        reinterpret_cast<const T *>(sums0), reinterpret_cast<const T *>(sums1), reinterpret_cast<const T *>(sums2),
        reinterpret_cast<const T *>(sums3)};
    const int paths = static_cast<int>(degree.size());
    const long of_element = static_cast<long>(members) * paths * rank * chunks * CHUNK;
    room.assign(static_cast<std::size_t>(MESSAGE_ROWS + 2 * MESSAGE_L + 5) * chunks * CHUNK, T(0));
    DISPATCH({
      const Terms<T> products = {5 * paths, start.data(), ia.data(), ib.data(), coefficient.data()};
      for (int s = 0; s < species; s++) {
        if (silent[s]) continue;
        pick(count, reinterpret_cast<const long *>(kinds), s, order);
        const ProductWeights<T> w = {
            members, rank, chunks, paths, degree.data(), weight.data() + s * of_element, offset.data() + s * rank,
            products};
        tensors_from_products<T>(w, static_cast<long>(order.size()), order.data(), reinterpret_cast<const T *>(own),
                                 sums.data(), room.data(), reinterpret_cast<T *>(components));
      }
    })
  }

 private:
  int species, members, rank, chunks;
  std::vector<int> degree;          // [path], of the own channels
  std::vector<T> weight, offset;    // [element][member][path][rank][chunks], [element][rank]
  std::vector<long> start;
  std::vector<int> ia, ib;
  std::vector<T> coefficient, room;
  std::vector<bool> silent;    // elements without such products
  std::vector<long> order;
  std::mutex busy;
};

template <typename T> void bind(py::module_ &m, const char *name)
{
  py::class_<Products<T>>(m, name)
      .def(py::init<const py::dict &, int, int, int>())
      .def("evaluate", &Products<T>::evaluate);
}

}    // namespace

void bind_products(py::module_ &m)
{
  bind<float>(m, "ProductsFloat");
  bind<double>(m, "ProductsDouble");
}
