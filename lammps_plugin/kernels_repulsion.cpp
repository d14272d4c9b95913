// Python classes efgmd._kernels.RepulsionFloat and RepulsionDouble: screened nuclear repulsion of the few pairs that
// are close enough: the same function as ShortRangeRepulsion in Python, with the derivative written out.

#include "kernels_modules.h"

#include <cmath>
#include <cstdint>
#include <string>

namespace py = pybind11;

namespace {

// Tables have a row and a column for each element: how far the repulsion reaches (angstrom), the product of the charges
// (eV angstrom) and the screening length (angstrom).
template <typename T> class Repulsion {
 public:
  Repulsion(int elements, const py::dict &w) :
      elements(elements), reach(values<double>(w, "reach")), charge(values<double>(w, "charge")),
      screening(values<double>(w, "screening")), coefficients(values<double>(w, "coefficients")),
      decays(values<double>(w, "decays"))
  {
    const std::size_t pairs = static_cast<std::size_t>(elements) * elements;
    if (reach.size() != pairs || charge.size() != pairs || screening.size() != pairs ||
        coefficients.size() != decays.size())
      throw std::invalid_argument("Repulsion: arrays do not fit the number of elements");
  }

  // Adds half of each pair's energy to the centre, and its derivative with respect to the vector.
  void add(long count, std::uintptr_t species, std::uintptr_t first, std::uintptr_t neighbours, std::uintptr_t vectors,
           std::uintptr_t energies, std::uintptr_t gradient) const
  {
    const long *kind = reinterpret_cast<const long *>(species), *begin = reinterpret_cast<const long *>(first),
               *other = reinterpret_cast<const long *>(neighbours);
    const T *vector = reinterpret_cast<const T *>(vectors);
    double *energy = reinterpret_cast<double *>(energies);
    T *slope = reinterpret_cast<T *>(gradient);
    py::gil_scoped_release release;
    for (long i = 0; i < count; i++)
      for (long p = begin[i]; p < begin[i + 1]; p++) {
        const long both = kind[i] * elements + other[p];
        const double x = vector[3 * p], y = vector[3 * p + 1], z = vector[3 * p + 2], squared = x * x + y * y + z * z;
        if (squared >= reach[both] * reach[both]) continue;
        const double r = std::sqrt(squared);
        double phi = 0, dphi = 0;
        for (std::size_t k = 0; k < decays.size(); k++) {
          const double decay = decays[k] / screening[both], term = coefficients[k] * std::exp(-decay * r);
          phi += term;
          dphi -= decay * term;
        }
        const double within = 1 - squared / (reach[both] * reach[both]), envelope = within * within * within;
        const double denvelope = -6 * r / (reach[both] * reach[both]) * within * within, bare = 0.5 * charge[both] / r;
        energy[i] += bare * phi * envelope;
        const double force = bare * ((dphi - phi / r) * envelope + phi * denvelope) / r;
        slope[3 * p] += static_cast<T>(force * x);
        slope[3 * p + 1] += static_cast<T>(force * y);
        slope[3 * p + 2] += static_cast<T>(force * z);
      }
  }

 private:
  int elements;
  std::vector<double> reach, charge, screening, coefficients, decays;
};

template <typename T> void bind(py::module_ &m, const char *name)
{
  py::class_<Repulsion<T>>(m, name).def(py::init<int, const py::dict &>()).def("add", &Repulsion<T>::add);
}

}    // namespace

void bind_repulsion(py::module_ &m)
{
  bind<float>(m, "RepulsionFloat");
  bind<double>(m, "RepulsionDouble");
}
