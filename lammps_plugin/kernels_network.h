// Adds the fused energy networks to the module efgmd._kernels.

#pragma once

#include <pybind11/pybind11.h>

void bind_network(pybind11::module_ &m);
