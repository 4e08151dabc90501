// The package has types for the whole; these are its files of one algorithm each, which take half the memory and a third of the time.
declare module 'hash-wasm/dist/xxhash64.umd.min.js' {
  import type { createXXHash64 } from 'hash-wasm'
  const module: { readonly createXXHash64: typeof createXXHash64 }
  export default module
}
declare module 'hash-wasm/dist/xxhash3.umd.min.js' {
  import type { createXXHash3 } from 'hash-wasm'
  const module: { readonly createXXHash3: typeof createXXHash3 }
  export default module
}
declare module 'hash-wasm/dist/xxhash128.umd.min.js' {
  import type { createXXHash128 } from 'hash-wasm'
  const module: { readonly createXXHash128: typeof createXXHash128 }
  export default module
}
