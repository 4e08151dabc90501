// The native core: AES-256-GCM over the segments of one stream, and what the envelope of a small object needs, for src/native/core.ts, which is the only one to
// load it. It has no cipher of its own: it calls the OpenSSL that Node itself has and exports. What it saves over node:crypto is a cipher object for every
// segment, two copies of every byte, and a job for every derived key.
//
// All calls are synchronous and keep no pointer into a buffer of JavaScript. Every argument is checked here, so that no caller can make it read or write
// outside the buffers that it is given. The key is in the context of OpenSSL alone, which cleanses it when it is freed.
#define NAPI_VERSION 8
#include <node_api.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// Of OpenSSL 3 (EVP_EncryptInit(3)). Declared here, so that no headers of a certain version or platform are needed.
typedef struct evp_cipher_st EVP_CIPHER;
typedef struct evp_cipher_ctx_st EVP_CIPHER_CTX;
extern EVP_CIPHER *EVP_CIPHER_fetch(void *library, const char *algorithm, const char *properties);
extern void EVP_CIPHER_free(EVP_CIPHER *cipher);
extern EVP_CIPHER_CTX *EVP_CIPHER_CTX_new(void);
extern void EVP_CIPHER_CTX_free(EVP_CIPHER_CTX *context);
extern int EVP_CIPHER_CTX_ctrl(EVP_CIPHER_CTX *context, int type, int number, void *pointer);
extern int EVP_CipherInit_ex2(EVP_CIPHER_CTX *context, const EVP_CIPHER *cipher, const unsigned char *key, const unsigned char *iv, int sealing,
                              const void *params);
extern int EVP_CipherUpdate(EVP_CIPHER_CTX *context, unsigned char *out, int *written, const unsigned char *in, int length);
extern int EVP_CipherFinal_ex(EVP_CIPHER_CTX *context, unsigned char *out, int *written);
extern int EVP_CIPHER_CTX_reset(EVP_CIPHER_CTX *context);
extern void OPENSSL_cleanse(void *bytes, size_t length);
// EVP_KDF(3), EVP_KDF-HKDF(7), OSSL_PARAM(3).
typedef struct evp_kdf_st EVP_KDF;
typedef struct evp_kdf_ctx_st EVP_KDF_CTX;
typedef struct {
  const char *name;
  unsigned int type;
  void *data;
  size_t size;
  size_t return_size;
} OSSL_PARAM;
#define OSSL_PARAM_UTF8_STRING 4
#define OSSL_PARAM_OCTET_STRING 5
#define OSSL_PARAM_UNMODIFIED ((size_t)-1)
extern EVP_KDF *EVP_KDF_fetch(void *library, const char *algorithm, const char *properties);
extern void EVP_KDF_free(EVP_KDF *kdf);
extern EVP_KDF_CTX *EVP_KDF_CTX_new(EVP_KDF *kdf);
extern void EVP_KDF_CTX_free(EVP_KDF_CTX *context);
extern void EVP_KDF_CTX_reset(EVP_KDF_CTX *context);
extern int EVP_KDF_derive(EVP_KDF_CTX *context, unsigned char *key, size_t length, const OSSL_PARAM params[]);
#define EVP_CTRL_AEAD_GET_TAG 0x10
#define EVP_CTRL_AEAD_SET_TAG 0x11

#define KEY_SIZE 32
#define NONCE_SIZE 12
#define TAG_SIZE 16
// Of one derivation: RFC 5869 allows 255 times the hash, and the gateway needs one.
#define MOST_DERIVED 32
#define MOST_INFO 1024

// Of one environment of Node: its main thread, or a worker.
typedef struct {
  EVP_CIPHER *cipher;
  // Both are empty between two calls.
  EVP_CIPHER_CTX *once;
  EVP_KDF_CTX *kdf;
} Instance;

typedef struct {
  EVP_CIPHER_CTX *context;
  bool sealing;
  // A segment has begun and has not ended: OpenSSL would make up a nonce where none was given.
  bool begun;
} Stream;

typedef struct {
  uint8_t *bytes;
  size_t length;
} Bytes;

static napi_value fail(napi_env env, const char *message) {
  napi_throw_error(env, NULL, message);
  return NULL;
}

static void free_stream(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  Stream *stream = data;
  EVP_CIPHER_CTX_free(stream->context);
  free(stream);
}

static void free_instance(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  Instance *instance = data;
  EVP_KDF_CTX_free(instance->kdf);
  EVP_CIPHER_CTX_free(instance->once);
  EVP_CIPHER_free(instance->cipher);
  free(instance);
}

static Instance *instance_of(napi_env env) {
  void *instance = NULL;
  return napi_get_instance_data(env, &instance) == napi_ok ? instance : NULL;
}

static bool take_arguments(napi_env env, napi_callback_info info, size_t wanted, napi_value *arguments) {
  size_t count = wanted;
  return napi_get_cb_info(env, info, &count, arguments, NULL, NULL) == napi_ok && count >= wanted;
}

static bool take_bytes(napi_env env, napi_value value, Bytes *bytes) {
  bool is_buffer = false;
  if (napi_is_buffer(env, value, &is_buffer) != napi_ok || !is_buffer) return false;
  void *data = NULL;
  if (napi_get_buffer_info(env, value, &data, &bytes->length) != napi_ok) return false;
  bytes->bytes = data;
  return true;
}

/** A whole number of 0 to 2^32 - 1. */
static bool take_number(napi_env env, napi_value value, size_t *number) {
  double given = -1;
  if (napi_get_value_double(env, value, &given) != napi_ok || !(given >= 0 && given <= UINT32_MAX)) return false;
  *number = (size_t)given;
  return (double)*number == given;
}

static Stream *take_stream(napi_env env, napi_value value) {
  void *data = NULL;
  napi_valuetype type = napi_undefined;
  if (napi_typeof(env, value, &type) != napi_ok || type != napi_external) return NULL;
  return napi_get_value_external(env, value, &data) == napi_ok ? data : NULL;
}

static bool has_room(Bytes bytes, size_t at, size_t length) {
  return at <= bytes.length && length <= bytes.length - at;
}

/** create(key, sealing): a context for the segments of one stream. */
static napi_value create(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  Bytes key;
  bool sealing = false;
  if (!take_arguments(env, info, 2, arguments) || !take_bytes(env, arguments[0], &key) || key.length != KEY_SIZE ||
      napi_get_value_bool(env, arguments[1], &sealing) != napi_ok) {
    return fail(env, "create(key of 32 bytes, sealing)");
  }
  Instance *instance = instance_of(env);
  if (instance == NULL) return fail(env, "no instance");
  Stream *stream = calloc(1, sizeof *stream);
  if (stream == NULL) return fail(env, "no memory");
  stream->sealing = sealing;
  stream->context = EVP_CIPHER_CTX_new();
  napi_value handle = NULL;
  if (stream->context == NULL || EVP_CipherInit_ex2(stream->context, instance->cipher, key.bytes, NULL, sealing ? 1 : 0, NULL) != 1 ||
      napi_create_external(env, stream, free_stream, NULL, &handle) != napi_ok) {
    free_stream(env, stream, NULL);
    return fail(env, "no context");
  }
  return handle;
}

/** begin(stream, nonce): a segment. One that has begun before is given up. */
static napi_value begin(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  Bytes nonce;
  Stream *stream = NULL;
  if (!take_arguments(env, info, 2, arguments) || (stream = take_stream(env, arguments[0])) == NULL || !take_bytes(env, arguments[1], &nonce) ||
      nonce.length != NONCE_SIZE) {
    return fail(env, "begin(stream, nonce of 12 bytes)");
  }
  stream->begun = EVP_CipherInit_ex2(stream->context, NULL, NULL, nonce.bytes, -1, NULL) == 1;
  return stream->begun ? NULL : fail(env, "begin");
}

/** update(stream, input, from, length, output, at): `length` bytes, which go to the same place or to one that does not overlap. */
static napi_value update(napi_env env, napi_callback_info info) {
  napi_value arguments[6];
  Bytes input;
  Bytes output;
  Stream *stream = NULL;
  size_t from = 0;
  size_t length = 0;
  size_t at = 0;
  if (!take_arguments(env, info, 6, arguments) || (stream = take_stream(env, arguments[0])) == NULL || !take_bytes(env, arguments[1], &input) ||
      !take_number(env, arguments[2], &from) || !take_number(env, arguments[3], &length) || !take_bytes(env, arguments[4], &output) ||
      !take_number(env, arguments[5], &at)) {
    return fail(env, "update(stream, input, from, length, output, at)");
  }
  if (!has_room(input, from, length) || !has_room(output, at, length) || length > INT_MAX) return fail(env, "update: outside of a buffer");
  if (!stream->begun) return fail(env, "update: no segment has begun");
  if (length == 0) return NULL;
  const uint8_t *source = input.bytes + from;
  uint8_t *target = output.bytes + at;
  uintptr_t apart = (uintptr_t)source > (uintptr_t)target ? (uintptr_t)source - (uintptr_t)target : (uintptr_t)target - (uintptr_t)source;
  if (apart != 0 && apart < length) return fail(env, "update: input and output overlap");
  int written = 0;
  if (EVP_CipherUpdate(stream->context, target, &written, source, (int)length) != 1 || written != (int)length) {
    stream->begun = false;
    return fail(env, "update");
  }
  return NULL;
}

/** tag(stream, output, at): ends a segment that is sealed, and writes its tag. */
static napi_value tag(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  Bytes output;
  Stream *stream = NULL;
  size_t at = 0;
  if (!take_arguments(env, info, 3, arguments) || (stream = take_stream(env, arguments[0])) == NULL || !take_bytes(env, arguments[1], &output) ||
      !take_number(env, arguments[2], &at) || !has_room(output, at, TAG_SIZE)) {
    return fail(env, "tag(stream, output with 16 bytes, at)");
  }
  if (!stream->begun || !stream->sealing) return fail(env, "tag: no segment is being sealed");
  stream->begun = false;
  unsigned char none[TAG_SIZE];
  int written = 0;
  if (EVP_CipherFinal_ex(stream->context, none, &written) != 1 || written != 0 ||
      EVP_CIPHER_CTX_ctrl(stream->context, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, output.bytes + at) != 1) {
    return fail(env, "tag");
  }
  return NULL;
}

/** verify(stream, tag): ends a segment that is opened. Returns whether the tag is that of its bytes. */
static napi_value verify(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  Bytes given;
  Stream *stream = NULL;
  if (!take_arguments(env, info, 2, arguments) || (stream = take_stream(env, arguments[0])) == NULL || !take_bytes(env, arguments[1], &given) ||
      given.length != TAG_SIZE) {
    return fail(env, "verify(stream, tag of 16 bytes)");
  }
  if (!stream->begun || stream->sealing) return fail(env, "verify: no segment is being opened");
  stream->begun = false;
  unsigned char none[TAG_SIZE];
  int written = 0;
  if (EVP_CIPHER_CTX_ctrl(stream->context, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, given.bytes) != 1) return fail(env, "verify");
  bool verified = EVP_CipherFinal_ex(stream->context, none, &written) == 1;
  napi_value answer = NULL;
  if (napi_get_boolean(env, verified, &answer) != napi_ok) return fail(env, "verify");
  return answer;
}

/** derive(key, salt, info, output): HKDF-SHA-256 (RFC 5869), as many bytes as the output has. */
static napi_value derive(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  Bytes key;
  Bytes salt;
  Bytes label;
  Bytes output;
  if (!take_arguments(env, info, 4, arguments) || !take_bytes(env, arguments[0], &key) || !take_bytes(env, arguments[1], &salt) ||
      !take_bytes(env, arguments[2], &label) || !take_bytes(env, arguments[3], &output) || key.length != KEY_SIZE || salt.length < 1 ||
      salt.length > MOST_INFO || label.length < 1 || label.length > MOST_INFO || output.length < 1 || output.length > MOST_DERIVED) {
    return fail(env, "derive(key of 32 bytes, salt, info, output of 1 to 32 bytes)");
  }
  Instance *instance = instance_of(env);
  if (instance == NULL) return fail(env, "no instance");
  char digest[] = "SHA256";
  unsigned char derived[MOST_DERIVED];
  const OSSL_PARAM params[] = {
      {"digest", OSSL_PARAM_UTF8_STRING, digest, sizeof digest - 1, OSSL_PARAM_UNMODIFIED},
      {"key", OSSL_PARAM_OCTET_STRING, key.bytes, key.length, OSSL_PARAM_UNMODIFIED},
      {"salt", OSSL_PARAM_OCTET_STRING, salt.bytes, salt.length, OSSL_PARAM_UNMODIFIED},
      {"info", OSSL_PARAM_OCTET_STRING, label.bytes, label.length, OSSL_PARAM_UNMODIFIED},
      {NULL, 0, NULL, 0, 0},
  };
  bool done = EVP_KDF_derive(instance->kdf, derived, output.length, params) == 1;
  EVP_KDF_CTX_reset(instance->kdf);
  // By way of the stack: the output may be where the key was.
  if (done) memcpy(output.bytes, derived, output.length);
  OPENSSL_cleanse(derived, sizeof derived);
  return done ? NULL : fail(env, "derive");
}

static bool overlap(Bytes a, Bytes b) {
  uintptr_t first = (uintptr_t)a.bytes;
  uintptr_t second = (uintptr_t)b.bytes;
  return first < second ? second - first < a.length : first - second < b.length;
}

/** What sealOnce and openOnce are given. */
typedef struct {
  Bytes key;
  Bytes nonce;
  Bytes aad;
  Bytes input;
  Bytes output;
} Box;

static bool take_box(napi_env env, napi_callback_info info, Box *box) {
  napi_value arguments[5];
  return take_arguments(env, info, 5, arguments) && take_bytes(env, arguments[0], &box->key) && box->key.length == KEY_SIZE &&
         take_bytes(env, arguments[1], &box->nonce) && box->nonce.length == NONCE_SIZE && take_bytes(env, arguments[2], &box->aad) &&
         box->aad.length <= INT_MAX && take_bytes(env, arguments[3], &box->input) && box->input.length <= INT_MAX &&
         take_bytes(env, arguments[4], &box->output) && !overlap(box->input, box->output);
}

/** Begins, takes the AAD and `length` bytes of the input. */
static bool cipher_box(Instance *instance, const Box *box, bool sealing, int length) {
  int written = 0;
  return EVP_CipherInit_ex2(instance->once, instance->cipher, box->key.bytes, box->nonce.bytes, sealing ? 1 : 0, NULL) == 1 &&
         (box->aad.length == 0 || EVP_CipherUpdate(instance->once, NULL, &written, box->aad.bytes, (int)box->aad.length) == 1) &&
         (length == 0 || (EVP_CipherUpdate(instance->once, box->output.bytes, &written, box->input.bytes, length) == 1 && written == length));
}

/** sealOnce(key, nonce, aad, plaintext, output): ciphertext and tag of one message under a key of its own. */
static napi_value seal_once(napi_env env, napi_callback_info info) {
  Box box;
  Instance *instance = instance_of(env);
  if (instance == NULL || !take_box(env, info, &box) || box.output.length < TAG_SIZE || box.output.length - TAG_SIZE != box.input.length) {
    return fail(env, "sealOnce(key of 32 bytes, nonce of 12 bytes, aad, plaintext, output with 16 bytes more)");
  }
  unsigned char none[TAG_SIZE];
  int written = 0;
  bool done = cipher_box(instance, &box, true, (int)box.input.length) && EVP_CipherFinal_ex(instance->once, none, &written) == 1 && written == 0 &&
              EVP_CIPHER_CTX_ctrl(instance->once, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, box.output.bytes + box.input.length) == 1;
  EVP_CIPHER_CTX_reset(instance->once);
  return done ? NULL : fail(env, "sealOnce");
}

/** openOnce(key, nonce, aad, sealed, output): whether the tag behind the ciphertext is right; where it is not, the output is zeros. */
static napi_value open_once(napi_env env, napi_callback_info info) {
  Box box;
  Instance *instance = instance_of(env);
  if (instance == NULL || !take_box(env, info, &box) || box.input.length < TAG_SIZE || box.input.length - TAG_SIZE != box.output.length) {
    return fail(env, "openOnce(key of 32 bytes, nonce of 12 bytes, aad, sealed, output with 16 bytes less)");
  }
  unsigned char none[TAG_SIZE];
  int written = 0;
  bool done = cipher_box(instance, &box, false, (int)box.output.length) &&
              EVP_CIPHER_CTX_ctrl(instance->once, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, box.input.bytes + box.output.length) == 1;
  bool verified = done && EVP_CipherFinal_ex(instance->once, none, &written) == 1;
  EVP_CIPHER_CTX_reset(instance->once);
  if (!verified) OPENSSL_cleanse(box.output.bytes, box.output.length);
  napi_value answer = NULL;
  if (!done || napi_get_boolean(env, verified, &answer) != napi_ok) return fail(env, "openOnce");
  return answer;
}

static bool add(napi_env env, napi_value exports, const char *name, napi_callback function) {
  napi_value value = NULL;
  return napi_create_function(env, name, NAPI_AUTO_LENGTH, function, NULL, &value) == napi_ok &&
         napi_set_named_property(env, exports, name, value) == napi_ok;
}

// Which source this was made from (.ci/native.ts); a package with another binary is refused.
#ifndef SOURCE
#define SOURCE ""
#endif
__attribute__((used)) static const char made_from[] = "sealgate-native-core " SOURCE;

NAPI_MODULE_INIT() {
  Instance *instance = calloc(1, sizeof *instance);
  if (instance == NULL) return fail(env, "no memory");
  instance->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
  instance->once = EVP_CIPHER_CTX_new();
  EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
  instance->kdf = kdf == NULL ? NULL : EVP_KDF_CTX_new(kdf);
  EVP_KDF_free(kdf);
  if (instance->cipher == NULL || instance->once == NULL || instance->kdf == NULL ||
      napi_set_instance_data(env, instance, free_instance, NULL) != napi_ok) {
    free_instance(env, instance, NULL);
    return fail(env, "OpenSSL has no AES-256-GCM or no HKDF");
  }
  bool complete = add(env, exports, "create", create) && add(env, exports, "begin", begin) && add(env, exports, "update", update) &&
                  add(env, exports, "tag", tag) && add(env, exports, "verify", verify) && add(env, exports, "derive", derive) &&
                  add(env, exports, "sealOnce", seal_once) && add(env, exports, "openOnce", open_once);
  return complete ? exports : fail(env, "no exports");
}
