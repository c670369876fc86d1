/* undef: takes back the macros that an includer of methods.def defined. No include guard: it is meant to be used often. */
#undef OBJECT_BEGIN
#undef OBJECT_END
#undef METHOD_BEGIN
#undef METHOD_RESULT
#undef METHOD_END
#undef F_AS
#undef FO
#undef FL
