#include "taskworker.pb-c.h"
