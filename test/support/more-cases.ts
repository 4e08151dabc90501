// To be imported before anything else: gives every test file a fast-check whose properties run many times the cases (test/campaigns/properties.ts).
import { registerHooks } from 'node:module'

const scaled = import.meta.resolve('./scaled-fast-check.ts')

registerHooks({
  resolve: (specifier, context, next) => next(specifier === 'fast-check' && context.parentURL !== scaled ? scaled : specifier, context)
})
