// google.protobuf.Struct, as @grpc/proto-loader hands it over, to JavaScript objects and back.

export function toStruct(object) {
  const present = Object.entries(object).filter(([, value]) => value !== undefined);
  return { fields: Object.fromEntries(present.map(([key, value]) => [key, toValue(value)])) };
}

export function fromStruct(struct) {
  return Object.fromEntries(Object.entries(struct?.fields ?? {}).map(([key, value]) => [key, fromValue(value)]));
}

function toValue(value) {
  if (value === null || value === undefined) return { nullValue: 'NULL_VALUE' };
  if (Array.isArray(value)) return { listValue: { values: value.map(toValue) } };
  if (typeof value === 'number') return { numberValue: value };
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  if (typeof value === 'object') return { structValue: toStruct(value) };
  throw new TypeError(`a ${typeof value} has no form in JSON`);
}

function fromValue(value) {
  switch (value.kind) {
    case 'listValue':
      return value.listValue.values.map(fromValue);
    case 'structValue':
      return fromStruct(value.structValue);
    case 'nullValue':
      return null;
    default:
      return value[value.kind];
  }
}
