#include "framework/core/hash.h"

#include <gtest/gtest.h>

#include "framework/core/error.h"

namespace fern {
namespace {

TEST(Hash, Sha256OfAbcIsThePublishedOne) {
  Sha256 hash;
  hash.update("a", 1);
  hash.update("bc", 2);
  EXPECT_EQ(hash.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Hash, RunningXxhEqualsOneShot) {
  Xxh128 hash;
  hash.update("fer", 3);
  hash.update("n", 1);
  EXPECT_EQ(hash.hex(), xxh128_hex("fern", 4));
  EXPECT_NE(hash.hex(), xxh128_hex("feRn", 4));
}

TEST(Hash, MissingFileIsNamed) {
  try {
    sha256_of_file("/nowhere/at/all");
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("/nowhere/at/all"), std::string::npos);
  }
}

}  // namespace
}  // namespace fern
