/* define_none: makes every line of methods.def expand to nothing; an includer then redefines those it wants. */
#define OBJECT_BEGIN(object)
#define OBJECT_END(object)
#define METHOD_BEGIN(ID, object, wire, traits, summary)
#define METHOD_RESULT(ID, object)
#define METHOD_END(ID, object)
#define F_AS(owner, TYPE, name, wire, flags, preset, min, max, extra, doc)
#define FO(owner, object, name, flags, doc)
#define FL(owner, object, name, flags, doc)
