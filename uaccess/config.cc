// The choice that config.h describes.
#include "uaccess/config.h"

constinit std::uint8_t uaccess_smap_enabled = 0;

namespace holstein {
namespace {

constinit UaccessConfig g_config;

}  // namespace

void uaccess_configure(const UaccessFeatures& features) {
  g_config = choose_config(features);
  uaccess_smap_enabled = features.smap ? 1 : 0;
}

const UaccessConfig& uaccess_config() { return g_config; }

void uaccess_set_config_for_test(const UaccessConfig& config) { g_config = config; }

}  // namespace holstein
