// Stands in for the copy of fmt that LAMMPS' installed headers name and Debian leaves out.
//
// The styles pass finished texts, so nothing of it is called; only the names must be there.

#ifndef DISTILL_INSTALLED_FMT_FORMAT_H
#define DISTILL_INSTALLED_FMT_FORMAT_H

#include <string>

namespace fmt {
inline namespace v7_lmp {
template <class C>
class basic_string_view;
using string_view = basic_string_view<char>;
class format_args;
template <class... Args, class Format>
format_args make_args_checked(const Format &, const Args &...);
}  // namespace v7_lmp
}  // namespace fmt

#endif
