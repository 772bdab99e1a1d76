// What most tests include, compiled once for each large test program.
#include <gtest/gtest.h>

#include "framework/core/precompiled.h"
