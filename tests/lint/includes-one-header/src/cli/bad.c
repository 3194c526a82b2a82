#include "rpc/client.h"
#  include "rpc/server.h"
