// What most tests include, compiled once for each library of tests.
#include <gtest/gtest.h>

#include "framework/core/precompiled.h"
