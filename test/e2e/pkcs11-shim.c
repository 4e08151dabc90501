// A PKCS#11 module that passes every call on to the one that PKCS11_SHIM_MODULE names, except where the file PKCS11_SHIM_FAULT says otherwise:
// "hang" (calls of C_Encrypt and C_Decrypt never return), "crash" (they end the process), "slow" (each takes 50 ms). For test/e2e/softhsm.sh:
//   gcc -shared -fPIC -o shim.so pkcs11-shim.c -ldl
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long number;
typedef number (*function)(void);
typedef number (*transform)(number session, unsigned char *in, number in_length, unsigned char *out, number *out_length);

// CK_FUNCTION_LIST of PKCS#11 2.40: a version in two bytes, then 68 pointers in the order of pkcs11f.h.
enum { FUNCTIONS = 68, C_ENCRYPT = 30, C_DECRYPT = 34 };
struct list {
  unsigned char major, minor;
  function of[FUNCTIONS];
};

static struct list copy;
static struct list *real;

static void fault(void) {
  const char *path = getenv("PKCS11_SHIM_FAULT");
  char word[16] = "";
  FILE *file = path ? fopen(path, "r") : NULL;
  if (!file) return;
  if (!fgets(word, sizeof word, file)) word[0] = 0;
  fclose(file);
  if (!strncmp(word, "hang", 4)) for (;;) pause();
  if (!strncmp(word, "crash", 5)) abort();
  if (!strncmp(word, "slow", 4)) usleep(50 * 1000);
}

static number encrypt(number session, unsigned char *in, number in_length, unsigned char *out, number *out_length) {
  fault();
  return ((transform)real->of[C_ENCRYPT])(session, in, in_length, out, out_length);
}

static number decrypt(number session, unsigned char *in, number in_length, unsigned char *out, number *out_length) {
  fault();
  return ((transform)real->of[C_DECRYPT])(session, in, in_length, out, out_length);
}

number C_GetFunctionList(struct list **out) {
  const char *path = getenv("PKCS11_SHIM_MODULE");
  void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
  number (*get)(struct list **) = library ? (number (*)(struct list **))dlsym(library, "C_GetFunctionList") : NULL;
  if (!get || get(&real)) return 5;
  copy = *real;
  copy.of[C_ENCRYPT] = (function)encrypt;
  copy.of[C_DECRYPT] = (function)decrypt;
  *out = &copy;
  return 0;
}
