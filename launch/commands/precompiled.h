// What the commands include besides, compiled once. See framework/core/precompiled.h.
#include <CLI/CLI.hpp>

#include "framework/core/precompiled.h"
