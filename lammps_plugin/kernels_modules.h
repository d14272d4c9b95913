// What other files add to the module efgmd._kernels.

#pragma once

#include <pybind11/pybind11.h>

void bind_network(pybind11::module_ &m);    // fused energy networks
void bind_tensor(pybind11::module_ &m);     // fused linear EFG models
